//! Reads an envelope from a record's bytes without copying its payload, and writes one with a single copy of it.
//!
//! What protobuf says is followed: unknown fields are skipped, the last of repeated occurrences counts. Only the
//! header is decoded. Deliberately not here: signatures (see [`crate::KeyRing`]) and what the payload means.
//! Limits: unknown groups nest at most 100 deep, as in prost; nothing is allocated but the header's strings.

use prost::Message;
use prost::bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field};

use crate::v1::EnvelopeHeader;

/// An envelope as it lies in a record. Borrows from the record.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvelopeView<'a> {
    /// Serialized header, exactly as signed.
    pub header_bytes: &'a [u8],
    pub header: EnvelopeHeader,
    /// Serialized batch message named by `header.schema`, exactly as signed. May be empty: a batch without events.
    pub payload: &'a [u8],
    /// 64 bytes when signed, else empty; any other length is a bad signature.
    pub signature: &'a [u8],
}

/// The record is not an envelope: the sender's fault, retrying does not help.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EnvelopeError {
    #[error("not an envelope: {what} at byte {offset}")]
    Malformed { offset: usize, what: String },
    #[error("not an envelope: it has no header (is the topic's content plain protobuf or JSON?)")]
    NoHeader,
    #[error("the envelope's header does not decode: {what}")]
    Header { what: String },
}

impl<'a> EnvelopeView<'a> {
    /// Reads the envelope in `record`.
    pub fn parse(record: &'a [u8]) -> Result<Self, EnvelopeError> {
        let [mut header_bytes, mut payload, mut signature] = [&record[..0]; 3];
        let mut rest = record;
        while !rest.is_empty() {
            let offset = record.len() - rest.len();
            let at = |what: prost::DecodeError| EnvelopeError::Malformed { offset, what: what.to_string() };
            let (field, wire_type) = decode_key(&mut rest).map_err(at)?;
            let part = match field {
                1 => &mut header_bytes,
                2 => &mut payload,
                3 => &mut signature,
                _ => {
                    skip_field(wire_type, field, &mut rest, DecodeContext::default()).map_err(at)?;
                    continue;
                }
            };
            *part = length_delimited(&mut rest, wire_type)
                .map_err(|what| EnvelopeError::Malformed { offset, what: format!("field {field}: {what}") })?;
        }
        if header_bytes.is_empty() {
            return Err(EnvelopeError::NoHeader);
        }
        let header =
            EnvelopeHeader::decode(header_bytes).map_err(|what| EnvelopeError::Header { what: what.to_string() })?;
        Ok(Self { header_bytes, header, payload, signature })
    }
}

/// Appends an [`Envelope`](crate::v1::Envelope) of these parts to `into`: the same bytes as its own encoding has, without the parts
/// being put into one before.
pub fn write_envelope(header: &[u8], payload: &[u8], signature: &[u8], into: &mut Vec<u8>) {
    let parts = [(1, header), (2, payload), (3, signature)];
    let bytes_max = parts.iter().map(|(_, part)| part.len() + FIELD_OVERHEAD_BYTES_MAX).sum();
    into.reserve(bytes_max);
    for (field, part) in parts.into_iter().filter(|(_, part)| !part.is_empty()) {
        encode_key(field, WireType::LengthDelimited, into);
        encode_varint(part.len() as u64, into);
        into.extend_from_slice(part);
    }
}

/// Of a key below 16 and a length.
const FIELD_OVERHEAD_BYTES_MAX: usize = 1 + 10;

/// Takes one length-delimited value off the front of `rest`.
fn length_delimited<'a>(rest: &mut &'a [u8], wire_type: WireType) -> Result<&'a [u8], String> {
    if wire_type != WireType::LengthDelimited {
        return Err(format!("wire type is {wire_type:?}, expected LengthDelimited"));
    }
    let length = decode_varint(rest).map_err(|e| e.to_string())?;
    let available = rest.remaining();
    match usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length)) {
        Some((value, tail)) => {
            *rest = tail;
            Ok(value)
        }
        None => Err(format!("its length is {length}, but {available} bytes are left")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::Envelope;
    use proptest::prelude::*;

    fn sample() -> Envelope {
        let header = EnvelopeHeader { agent_id: "a".into(), sequence: 7, ..Default::default() };
        Envelope {
            header: header.encode_to_vec().into(),
            payload: b"payload".to_vec().into(),
            signature: vec![9; 64].into(),
        }
    }

    fn refusal(record: &[u8]) -> String {
        EnvelopeView::parse(record).expect_err("must be refused").to_string()
    }

    #[test]
    fn parts_are_found_where_they_lie() {
        let envelope = sample();
        let bytes = envelope.encode_to_vec();
        let view = EnvelopeView::parse(&bytes).expect("a whole envelope");
        assert_eq!(view.header_bytes, envelope.header);
        assert_eq!((view.header.agent_id.as_str(), view.header.sequence), ("a", 7));
        assert_eq!(view.payload, b"payload");
        assert_eq!(view.signature, [9; 64]);
    }

    #[test]
    fn the_last_occurrence_counts_and_unknown_fields_are_skipped() {
        let mut bytes = sample().encode_to_vec();
        bytes.extend(b"\x12\x03new"); // payload again
        bytes.extend(b"\x7a\x01x"); // unknown field 15, length-delimited
        bytes.extend(b"\x7b\x08\x01\x7c"); // unknown group 15
        let view = EnvelopeView::parse(&bytes).expect("still an envelope");
        assert_eq!(view.payload, b"new");
    }

    #[test]
    fn refusals_name_the_byte() {
        assert_eq!(refusal(b""), "not an envelope: it has no header (is the topic's content plain protobuf or JSON?)");
        let cut = &sample().encode_to_vec()[..6];
        assert_eq!(refusal(cut), "not an envelope: field 1: its length is 5, but 4 bytes are left at byte 0");
        assert_eq!(
            refusal(b"\x0a\x00\x12"),
            "not an envelope: field 2: failed to decode Protobuf message: invalid varint at byte 2"
        );
        assert_eq!(
            refusal(b"\x08\x01"),
            "not an envelope: field 1: wire type is Varint, expected LengthDelimited at byte 0"
        );
        assert_eq!(
            refusal(b"\x0a\x02\x08\x01"),
            "the envelope's header does not decode: failed to decode Protobuf message: \
             EnvelopeHeader.agent_id: invalid wire type: Varint (expected LengthDelimited)"
        );
    }

    #[test]
    fn a_json_record_is_refused() {
        let text = refusal(br#"{"agent":"a"}"#);
        assert!(text.starts_with("not an envelope: "), "{text}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_prost_writes(
            header in prop::collection::vec(any::<u8>(), 0..200),
            payload in prop::collection::vec(any::<u8>(), 0..20_000),
            signature in prop::collection::vec(any::<u8>(), 0..65),
        ) {
            let mut written = b"before".to_vec();
            write_envelope(&header, &payload, &signature, &mut written);
            let whole = Envelope { header: header.into(), payload: payload.into(), signature: signature.into() };
            prop_assert_eq!(&written[6..], whole.encode_to_vec());
        }

        #[test]
        fn any_bytes_never_panic(record in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = EnvelopeView::parse(&record);
        }

        #[test]
        fn agrees_with_prost(record in proptest::collection::vec(0u8..32, 0..40)) {
            let ours = EnvelopeView::parse(&record);
            let prost = Envelope::decode(&record[..]);
            match (&ours, &prost) {
                (Ok(view), Ok(envelope)) => {
                    prop_assert_eq!(view.header_bytes, &envelope.header[..]);
                    prop_assert_eq!(view.payload, &envelope.payload[..]);
                    prop_assert_eq!(view.signature, &envelope.signature[..]);
                }
                (Err(EnvelopeError::Malformed { .. }), prost) => prop_assert!(prost.is_err()),
                (Err(_), prost) => prop_assert!(prost.is_ok()),
                (Ok(_), Err(e)) => prop_assert!(false, "prost refuses: {e}"),
            }
        }
    }
}
