//! TLS on a real Kafka: what comes through, and what each kind of handle says of a certificate that is not taken.

use crate::{
    away::spec,
    fixture::{assigned, commit, member_options, options, outgoing, produce_with, send, tp, unique, until},
    groups::at,
};
use amoskys_bus::{
    Address, Bus, BusError, BusOptions, ProducerOptions, ReaderOptions, Security, open,
    testing::{KafkaBroker, KafkaOptions},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Far less than the time that a broker is waited for.
const AT_ONCE: Duration = Duration::from_secs(4);

fn broker() -> KafkaBroker {
    KafkaBroker::start_with(KafkaOptions { tls: true, ..KafkaOptions::default() })
}

fn trusting(broker: &KafkaBroker, authority: &str) -> Security {
    Security { protocol: Some("ssl".to_owned()), ca_file: Some(broker.tls_file(authority)), ..Security::default() }
}

fn known(broker: &KafkaBroker, authority: &str) -> Security {
    Security {
        certificate_file: Some(broker.tls_file("client.pem")),
        key_file: Some(broker.tls_file("client.key")),
        ..trusting(broker, authority)
    }
}

fn with(address: &Address, security: Security) -> Arc<dyn Bus> {
    open(&BusOptions { security, ..options(address) }).expect("the settings are right")
}

/// A record there and back, and a transaction.
fn works(bus: &dyn Bus) {
    let topic = unique("secret");
    assert!(bus.create_topic(&spec(&topic)).expect("created"));
    let mut producer = bus.producer(&ProducerOptions::default()).expect("a producer");
    assert_eq!(produce_with(&mut *producer, vec![outgoing(&topic, "k", "x")]), [(0, 0)]);
    let mut reader = bus.reader(&ReaderOptions::default()).expect("a reader");
    assert_eq!(reader.bounds(&tp(&topic, 0)).expect("bounds"), (0, 1));
    let mut member = bus.member(&member_options(&unique("group"), &topic)).expect("a member");
    assigned(&mut *member, 1);
    commit(&mut *member, &[outgoing(&topic, "k", "y")], &[(tp(&topic, 0), at(1, ""))]).expect("committed");
}

fn is_refused<T>(result: Result<T, BusError>, words: &str) {
    let error = result.err().expect("refused");
    assert!(matches!(error, BusError::Tls { .. }) && !error.retryable(), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(words), "{text}");
}

/// Every kind of handle says so, and those that are asked a question say it at once.
fn refuses(bus: &dyn Bus, words: &str) {
    let began = Instant::now();
    is_refused(bus.topics(), words);
    is_refused(bus.create_topic(&spec("x")), words);
    assert!(began.elapsed() < 2 * AT_ONCE, "{:?}", began.elapsed());

    let short = ProducerOptions { delivery_timeout: Duration::from_secs(1), ..ProducerOptions::default() };
    let mut producer = bus.producer(&short).expect("a producer");
    let mut reports = Vec::new();
    send(&mut *producer, outgoing("x", "k", "x"), 1, &mut reports);
    until("the report", || {
        producer.poll(Duration::from_millis(100), &mut reports);
        (!reports.is_empty()).then_some(())
    });
    is_refused(reports.remove(0).result, words);

    let mut reader = bus.reader(&ReaderOptions::default()).expect("a reader");
    is_refused(reader.bounds(&tp("x", 0)), words);
    let mut member = bus.member(&member_options(&unique("group"), "x")).expect("a member");
    let refused = until("an error", || member.poll(Duration::from_millis(100), 10, &mut |_| {}).err());
    is_refused::<()>(Err(refused), words);
}

#[test]
fn tls_with_and_without_a_clients_certificate_and_with_a_login() {
    let broker = broker();
    works(&*with(&broker.tls_address(), trusting(&broker, "ca.pem")));
    works(&*with(&broker.mutual_tls_address(), known(&broker, "ca.pem")));
    let login = |mechanism: &str, password: &str| Security {
        protocol: Some("sasl_ssl".to_owned()),
        sasl_mechanism: Some(mechanism.to_owned()),
        username: Some("admin".to_owned()),
        password: Some(password.to_owned()),
        ..trusting(&broker, "ca.pem")
    };
    for mechanism in ["PLAIN", "SCRAM-SHA-256"] {
        works(&*with(&broker.sasl_tls_address(), login(mechanism, "admin-secret")));
        let error = with(&broker.sasl_tls_address(), login(mechanism, "wrong")).topics().expect_err("refused");
        assert!(matches!(error, BusError::Unauthorised { .. }), "{error:?}");
        assert!(error.to_string().contains("does not take the login of `admin`"), "{error}");
    }
}

#[test]
fn certificates_that_are_not_taken_are_told_as_such() {
    let broker = broker();
    // Another authority than the one that signed the broker's certificate.
    refuses(&*with(&broker.tls_address(), trusting(&broker, "other-ca.pem")), "is by an authority that is not in");
    refuses(&*with(&broker.expired_address(), trusting(&broker, "ca.pem")), "expired at 2021-01-01T00:00:00Z");
    refuses(
        &*with(&broker.elsewhere_address(), trusting(&broker, "ca.pem")),
        "is for elsewhere.example, not for 127.0.0.1",
    );
    // A broker that wants a certificate, which with TLS 1.3 it says after the handshake.
    refuses(
        &*with(&broker.mutual_tls_address(), trusting(&broker, "ca.pem")),
        "wants a certificate of the client, and none is set",
    );
    // One that the broker's authority has not signed.
    let stranger = Security {
        certificate_file: Some(broker.tls_file("stranger.pem")),
        key_file: Some(broker.tls_file("stranger.key")),
        ..trusting(&broker, "ca.pem")
    };
    refuses(&*with(&broker.mutual_tls_address(), stranger), "refuses the client's certificate");
}

#[test]
fn a_listener_of_the_other_kind_is_waited_for_with_a_hint() {
    let broker = broker();
    let error = with(&broker.tls_address(), Security::default()).topics().expect_err("not connected");
    assert!(error.retryable() && error.to_string().contains("speak the security_protocol"), "{error}");
    let error = with(&broker.address(), trusting(&broker, "ca.pem")).topics().expect_err("not connected");
    assert!(error.retryable() && error.to_string().contains("speak the security_protocol"), "{error}");
}

#[test]
fn files_that_cannot_be_used_are_told_when_the_log_is_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("not.pem").display().to_string();
    std::fs::write(&file, "nothing of the kind").expect("written");
    let security = Security { protocol: Some("ssl".to_owned()), ca_file: Some(file), ..Security::default() };
    let address = "kafka://127.0.0.1:1".parse().expect("an address");
    let error = open(&BusOptions { security, ..options(&address) }).err().expect("refused");
    assert!(matches!(&error, BusError::Misconfigured { detail } if detail.contains("ssl.ca.location")), "{error:?}");
}
