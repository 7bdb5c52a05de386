//! Keys in files, sealed envelopes, and refusals with their reasons.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use amoskys_proto::v1::{DeadLetterReason, Envelope, EnvelopeHeader};
use amoskys_proto::{EnvelopeView, KeyRing, KeyRingError, Signer, SignerError, VerifyError};
use proptest::prelude::*;
use prost::Message;

fn header(sequence: u64) -> EnvelopeHeader {
    EnvelopeHeader { agent_id: "agent".into(), host_id: "host".into(), sequence, ..Default::default() }
}

fn sealed(signer: &Signer, sequence: u64) -> Vec<u8> {
    signer.seal(header(sequence), vec![7; 500].into()).encode_to_vec()
}

fn signer() -> Signer {
    Signer::generate().expect("random bytes")
}

fn view(record: &[u8]) -> EnvelopeView<'_> {
    EnvelopeView::parse(record).expect("an envelope")
}

/// A folder with the public keys of these signers.
fn folder(signers: &[&Signer]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (at, signer) in signers.iter().enumerate() {
        let private = folder.path().join(format!("agent-{at}.key"));
        signer.write_files(&private).expect("written");
        fs::remove_file(private).expect("removed");
    }
    folder
}

#[test]
fn a_key_pair_survives_its_files() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (signer, path) = (signer(), folder.path().join("agent.key"));
    let public = signer.write_files(&path).expect("written");
    assert_eq!(public, folder.path().join("agent.pub"));
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    let again = Signer::from_pem_file(&path).expect("read");
    assert_eq!(again.key_id(), signer.key_id());
    let ring = KeyRing::load(folder.path()).expect("one public key; the .key file is not looked at");
    assert_eq!(ring.len(), 1);
    ring.verify_one(&view(&sealed(&again, 1)), 0).expect("its own signature");
    assert!(
        matches!(signer.write_files(&path), Err(SignerError::Write { .. })),
        "an existing key is never overwritten"
    );
}

#[test]
fn keys_written_by_openssl_are_read() {
    // openssl genpkey -algorithm ed25519; openssl pkey -pubout
    const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";
    let folder = tempfile::tempdir().expect("a temporary folder");
    let private = folder.path().join("agent.key");
    fs::write(&private, PRIVATE).expect("written");
    fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).expect("chmod");
    fs::write(folder.path().join("agent.pem"), PUBLIC).expect("written");
    let signer = Signer::from_pem_file(&private).expect("read");
    let ring = KeyRing::load(folder.path()).expect("read");
    // The first test vector of RFC 8032.
    assert_eq!(signer.public().to_bytes()[..4], [0xd7, 0x5a, 0x98, 0x01]);
    ring.verify_one(&view(&sealed(&signer, 1)), 0).expect("the two belong together");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("agent.key");
    signer().write_files(&path).expect("written");
    for mode in [0o640, 0o604, 0o620] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
        let refusal = Signer::from_pem_file(&path).expect_err("refused");
        assert!(matches!(refusal, SignerError::Mode { mode: got, .. } if got == mode), "{refusal}");
        assert!(refusal.to_string().contains("chmod 600"), "{refusal}");
    }
}

#[test]
fn key_files_that_are_none_are_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("agent.key");
    assert!(matches!(Signer::from_pem_file(&path), Err(SignerError::Read { .. })));
    fs::write(&path, "no key").expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
    assert!(matches!(Signer::from_pem_file(&path), Err(SignerError::Format { .. })));

    assert!(matches!(KeyRing::load(Path::new("/nowhere/at/all")), Err(KeyRingError::Folder { .. })));
    fs::write(folder.path().join("x.pub"), "no key").expect("written");
    let refusal = KeyRing::load(folder.path()).expect_err("refused");
    assert!(refusal.to_string().contains("x.pub"), "{refusal}");
}

#[test]
fn private_and_weak_keys_are_refused_as_public_ones() {
    let keys = tempfile::tempdir().expect("a temporary folder");
    signer().write_files(&keys.path().join("agent.pem")).expect("written");
    assert!(matches!(KeyRing::load(keys.path()), Err(KeyRingError::Private { .. })));

    let weak = tempfile::tempdir().expect("a temporary folder");
    // The point of order 1, for which signatures can be made without a private key.
    let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n-----END PUBLIC KEY-----\n";
    fs::write(weak.path().join("weak.pub"), pem).expect("written");
    assert!(matches!(KeyRing::load(weak.path()), Err(KeyRingError::Weak { .. })));
}

#[test]
fn the_signed_digest_is_what_the_contract_says() {
    let signer = signer();
    let envelope = signer.seal(header(1), b"payload".to_vec().into());
    let mut bytes = b"amoskys.envelope.v1".to_vec();
    bytes.extend((envelope.header.len() as u64).to_le_bytes());
    bytes.extend(&envelope.header[..]);
    bytes.extend(b"payload");
    assert_eq!(amoskys_proto::digest(&envelope.header, &envelope.payload), *blake3::hash(&bytes).as_bytes());
    assert_eq!(signer.key_id(), hex::encode(&blake3::hash(&signer.public().to_bytes()).as_bytes()[..8]));
}

#[test]
fn each_bad_envelope_of_a_batch_is_named_and_no_good_one() {
    let (known, other, unknown) = (signer(), signer(), signer());
    let ring = KeyRing::load(folder(&[&known, &other]).path()).expect("two keys");
    let mut unsigned = known.seal(header(1), vec![1].into());
    unsigned.signature = Default::default();
    let mut short = known.seal(header(2), vec![1].into());
    short.signature = short.signature.slice(..63);
    let mut altered = known.seal(header(3), vec![1].into());
    altered.payload = vec![2].into();
    // Signed by a known key under the id of another.
    let mut borrowed = known.seal(header(4), vec![1].into());
    let mut lying = EnvelopeHeader::decode(&borrowed.header[..]).expect("a header");
    lying.key_id = other.key_id().to_owned();
    borrowed.header = lying.encode_to_vec().into();
    borrowed.signature = known.sign(&borrowed.header, &borrowed.payload).to_vec().into();

    let mut envelopes: Vec<Envelope> = (0..300).map(|n| known.seal(header(n), vec![n as u8; 40].into())).collect();
    let bad = [(3, unsigned, "unsigned"), (130, short, "bad"), (131, altered, "bad"), (299, borrowed, "bad")];
    for (at, envelope, _) in &bad {
        envelopes[*at] = envelope.clone();
    }
    envelopes[200] = unknown.seal(header(5), vec![1].into());

    let records: Vec<Vec<u8>> = envelopes.iter().map(Message::encode_to_vec).collect();
    let views: Vec<(EnvelopeView<'_>, i64)> = records.iter().map(|record| (view(record), 0)).collect();
    let results = ring.verify(&views);
    assert_eq!(results.len(), 300);
    for (at, result) in results.iter().enumerate() {
        assert_eq!(*result, ring.verify_one(&views[at].0, 0), "alone and in a batch, envelope {at}");
        let reason = result.as_ref().map_err(VerifyError::reason);
        match bad.iter().find(|(bad, ..)| *bad == at) {
            Some((_, _, "unsigned")) => assert_eq!(reason, Err(DeadLetterReason::Unsigned)),
            Some(_) => assert_eq!(reason, Err(DeadLetterReason::BadSignature)),
            None if at == 200 => assert_eq!(reason, Err(DeadLetterReason::UnknownKey)),
            None => assert_eq!(reason, Ok(&())),
        }
    }
    assert!(ring.verify(&[]).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_altered_bit_of_header_payload_or_signature_is_refused(
        payload in proptest::collection::vec(any::<u8>(), 1..100),
        part in 0..3usize,
        at in any::<prop::sample::Index>(),
        bit in 0..8u8,
    ) {
        let signer = signer();
        let ring = KeyRing::of([signer.public()]);
        let good = signer.seal(header(9), payload.into());
        let mut parts = [good.header.to_vec(), good.payload.to_vec(), good.signature.to_vec()];
        let at = at.index(parts[part].len());
        parts[part][at] ^= 1 << bit;
        let [header, payload, signature] = parts.map(Into::into);
        let record = Envelope { header, payload, signature }.encode_to_vec();
        // A header may not even decode any more.
        if let Ok(altered) = EnvelopeView::parse(&record) {
            let good = good.encode_to_vec();
            let results = ring.verify(&[(view(&good), 0), (altered, 0), (view(&good), 0)]);
            prop_assert_eq!(&results[0], &Ok(()));
            prop_assert!(results[1].is_err());
            prop_assert_eq!(&results[2], &Ok(()));
        }
    }
}
