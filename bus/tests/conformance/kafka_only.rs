//! What only Kafka has: its access control, its settings.

use crate::{
    away::spec,
    fixture::{assigned, commit, member_options, options, outgoing, send, tp, unique, until},
    groups::at,
};
use amoskys_bus::{
    Bus, BusError, BusOptions, ProducerOptions, ReaderOptions, Security, open,
    testing::{KafkaBroker, KafkaOptions},
};
use std::{sync::Arc, time::Duration};

fn as_user(broker: &KafkaBroker, user: &str, password: &str) -> Arc<dyn Bus> {
    let security = Security {
        protocol: Some("sasl_plaintext".to_owned()),
        sasl_mechanism: Some("PLAIN".to_owned()),
        username: Some(user.to_owned()),
        password: Some(password.to_owned()),
        ..Security::default()
    };
    open(&BusOptions { security, ..options(&broker.sasl_address()) }).expect("the settings are right")
}

fn is_unauthorised<T: std::fmt::Debug>(result: Result<T, BusError>) {
    let error = result.expect_err("refused");
    assert!(matches!(error, BusError::Unauthorised { .. }), "{error:?}");
}

#[test]
fn access_is_refused_as_such_and_logins_pass_through() {
    let broker = KafkaBroker::start_with(KafkaOptions { sasl: true, ..KafkaOptions::default() });
    let admin = as_user(&broker, "admin", "admin-secret");
    let topic = unique("guarded");
    assert!(admin.create_topic(&spec(&topic)).expect("the admin may create topics"));

    is_unauthorised(as_user(&broker, "admin", "wrong").topics());
    let nobody = as_user(&broker, "reader", "reader-secret");
    is_unauthorised(nobody.create_topic(&spec(&unique("another"))));

    let mut producer = nobody.producer(&ProducerOptions::default()).expect("a producer");
    let mut reports = Vec::new();
    send(&mut *producer, outgoing(&topic, "k", "x"), 1, &mut reports);
    until("the report", || {
        producer.poll(Duration::from_millis(100), &mut reports);
        (!reports.is_empty()).then_some(())
    });
    is_unauthorised(reports.remove(0).result);

    let mut member = nobody.member(&member_options(&unique("group"), &topic)).expect("a member");
    let refused = until("an error", || member.poll(Duration::from_millis(100), 10, &mut |_| {}).err());
    is_unauthorised::<()>(Err(refused));

    let mut reader = nobody.reader(&ReaderOptions::default()).expect("a reader");
    is_unauthorised(reader.bounds(&tp(&topic, 0)));
    is_unauthorised(reader.assign(&tp(&topic, 0), 0));

    // The admin's member commits a transaction over the guarded listener.
    let mut member = admin.member(&member_options(&unique("group"), &topic)).expect("a member");
    assigned(&mut *member, 1);
    commit(&mut *member, &[outgoing(&topic, "k", "x")], &[(tp(&topic, 0), at(0, ""))]).expect("committed");
}

#[test]
fn a_setting_that_librdkafka_does_not_know_is_named() {
    let wrong = BusOptions {
        extra: vec![("no.such".into(), "1".into())],
        ..options(&"kafka://127.0.0.1:1".parse().expect("address"))
    };
    let error = open(&wrong).err().expect("refused");
    assert!(matches!(&error, BusError::Misconfigured { detail } if detail.contains("no.such")), "{error}");
}
