//! What only NATS has: servers that will not do, its logins and TLS, members that live by polling.

use crate::{
    away::spec,
    fixture::{assigned, commit, connect, member_options, nats, options, outgoing, produce_with, tp, unique, until},
    groups::{self, at},
};
use amoskys_bus::{
    Address, Bus, BusError, BusOptions, ProducerOptions, ReaderOptions, Security, open,
    testing::{NatsOptions, NatsServer, make_certificates},
};
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    sync::Arc,
    time::Duration,
};

#[test]
fn a_member_that_does_not_poll_loses_its_partitions() {
    groups::a_member_that_does_not_poll_loses_its_partitions(&mut nats());
}

/// Says what a server says first, and that it lives. No more is needed to be refused.
fn server_that_says(info: &'static str) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = format!("nats://{}", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            let mut writer = connection.try_clone().expect("a second handle");
            let _ = write!(writer, "INFO {info}\r\n");
            for line in BufReader::new(connection).lines().map_while(Result::ok) {
                if line.starts_with("PING") {
                    let _ = write!(writer, "PONG\r\n");
                }
            }
        }
    });
    address.parse().expect("an address")
}

#[test]
fn an_old_server_is_refused_with_the_reason() {
    // As nats-server 2.9.10 presents itself.
    let address = server_that_says(
        r#"{"server_id":"X","version":"2.9.10","proto":1,"headers":true,"max_payload":1048576,"jetstream":true}"#,
    );
    is_too_old(&address);
    // And a real one, where somebody has it: Debian 12's package is of this version.
    if let Ok(old) = std::env::var("AMOSKYS_TEST_OLD_NATS_SERVER") {
        is_too_old(&NatsServer::start_with(NatsOptions { arguments: vec!["--server".into(), old] }).address());
    }
}

fn is_too_old(address: &Address) {
    let error = open(&options(address)).err().expect("refused");
    assert!(matches!(error, BusError::Misconfigured { .. }), "{error:?}");
    for part in ["2.9.10", "2.10", "filter_subjects"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn a_server_without_jetstream_is_refused() {
    let server = NatsServer::start_with(NatsOptions { arguments: vec!["--no-jetstream".into()] });
    let error = open(&options(&server.address())).err().expect("refused");
    assert!(matches!(&error, BusError::Misconfigured { detail } if detail.contains("JetStream")), "{error:?}");
}

#[test]
fn a_stream_that_we_did_not_make_is_no_topic() {
    let log = nats();
    let name = unique("foreign");
    // By hand, as a `nats stream add` would.
    create_stream(&log.options.address, &name);
    assert!(log.bus().topics().expect("topics").iter().all(|topic| topic.name != name));
    let error = log.bus().create_topic(&spec(&name)).expect_err("the name is taken");
    assert!(matches!(&error, BusError::Misconfigured { detail } if detail.contains("did not make")), "{error:?}");
    let mut reader = log.bus().reader(&ReaderOptions::default()).expect("a reader");
    let error = reader.bounds(&tp(&name, 0)).expect_err("no topic");
    assert!(matches!(error, BusError::UnknownTopic { .. }), "{error:?}");
}

fn create_stream(address: &Address, name: &str) {
    let Address::Nats { servers } = address else { panic!("{address}") };
    let mut connection = std::net::TcpStream::connect(&servers[0]).expect("connects");
    let config = format!(r#"{{"name":"{name}","subjects":["{name}.*"]}}"#);
    write!(
        connection,
        "CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\nPUB $JS.API.STREAM.CREATE.{name} answer {}\r\n{config}\r\n",
        config.len()
    )
    .expect("asked");
    let answer = BufReader::new(connection).lines().map_while(Result::ok).find(|line| line.starts_with("MSG"));
    assert!(answer.is_some());
}

#[test]
fn a_wrong_setting_is_named() {
    let extra = vec![("no.such".to_owned(), "1".to_owned())];
    let wrong = BusOptions { extra, ..options(&"nats://127.0.0.1:1".parse().expect("address")) };
    let error = open(&wrong).err().expect("refused");
    assert!(matches!(&error, BusError::Misconfigured { detail } if detail.contains("no.such")), "{error}");
}

fn as_user(address: &Address, user: &str, password: &str) -> Result<Arc<dyn Bus>, BusError> {
    let security = Security {
        protocol: Some("sasl_plaintext".to_owned()),
        sasl_mechanism: Some("PLAIN".to_owned()),
        username: Some(user.to_owned()),
        password: Some(password.to_owned()),
        ..Security::default()
    };
    open(&BusOptions { security, ..options(address) })
}

fn is_unauthorised<T>(result: Result<T, BusError>) {
    let error = result.err().expect("refused");
    assert!(matches!(error, BusError::Unauthorised { .. }), "{error:?}");
}

#[test]
fn access_is_refused_as_such_and_logins_pass_through() {
    let server = NatsServer::start_with(NatsOptions { arguments: vec!["--users".into()] });
    let address = server.address();
    is_unauthorised(open(&options(&address)));
    is_unauthorised(as_user(&address, "admin", "wrong"));
    // May connect and nothing else, which is found out when JetStream is asked for.
    is_unauthorised(as_user(&address, "reader", "reader-secret"));

    let admin = as_user(&address, "admin", "admin-secret").expect("may do everything");
    assert!(admin.create_topic(&spec("guarded")).expect("created"));
    let mut member = admin.member(&member_options(&unique("group"), "guarded")).expect("a member");
    assigned(&mut *member, 1);
    commit(&mut *member, &[outgoing("guarded", "k", "x")], &[(tp("guarded", 0), at(0, ""))]).expect("committed");
}

#[test]
fn tls_with_certificates_on_both_sides() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificates = folder.path().join("tls");
    make_certificates(&certificates);
    let file = |name: &str| certificates.join(name).display().to_string();
    let flags = [("--certificate", "server.pem"), ("--key", "server.key"), ("--ca", "ca.pem")];
    let mut arguments = vec!["--tls".to_owned()];
    arguments.extend(flags.iter().flat_map(|(flag, name)| [(*flag).to_owned(), file(name)]));
    let server = NatsServer::start_with(NatsOptions { arguments });
    let trusting = Security {
        protocol: Some("ssl".to_owned()),
        ca_file: Some(file("ca.pem")),
        certificate_file: Some(file("client.pem")),
        key_file: Some(file("client.key")),
        ..Security::default()
    };
    let open_with = |security: Security| open(&BusOptions { security, ..options(&server.address()) });
    let bus = open_with(trusting.clone()).expect("connects");
    assert!(bus.create_topic(&spec("secret")).expect("created"));
    let mut producer = bus.producer(&ProducerOptions::default()).expect("a producer");
    assert_eq!(produce_with(&mut *producer, vec![outgoing("secret", "k", "x")]), [(0, 0)]);

    // A server that another authority vouches for, and one that wants a certificate, are not reached.
    let stranger = Security { ca_file: Some(file("server.pem")), ..trusting.clone() };
    let nameless = Security { certificate_file: None, key_file: None, ..trusting };
    for (security, words) in
        [(stranger, "by an authority that is not in"), (nameless, "wants a certificate of the client")]
    {
        let error = open_with(security).and_then(|bus| bus.topics()).expect_err("not connected");
        assert!(matches!(error, BusError::Tls { .. }) && !error.retryable(), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_frozen_server_is_waited_for() {
    let server = NatsServer::start();
    let bus = connect(&server.address());
    bus.create_topic(&spec("input")).expect("created");
    bus.create_topic(&spec("output")).expect("created");
    let mut member = bus.member(&member_options("group", "input")).expect("a member");
    assigned(&mut *member, 1);
    server.freeze();
    let short = ProducerOptions { delivery_timeout: Duration::from_millis(300), ..ProducerOptions::default() };
    let mut hasty = bus.producer(&short).expect("a producer");
    let mut reports = Vec::new();
    crate::fixture::send(&mut *hasty, outgoing("input", "k", "x"), 1, &mut reports);
    until("the report", || {
        hasty.poll(Duration::from_millis(100), &mut reports);
        (!reports.is_empty()).then_some(())
    });
    let error = reports.remove(0).result.expect_err("nobody answered");
    assert!(matches!(error, BusError::Unreachable { .. }) && error.retryable(), "{error}");
    server.thaw();
    // The member is still the only one, and its commit comes through.
    commit(&mut *member, &[outgoing("output", "k", "x")], &[(tp("input", 0), at(1, ""))]).expect("committed");
    let mut reader = bus.reader(&ReaderOptions::default()).expect("a reader");
    let (first, end) = reader.bounds(&tp("output", 0)).expect("bounds");
    assert_eq!(end - first, 1);
}
