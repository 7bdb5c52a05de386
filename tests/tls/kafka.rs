//! Kafka: agents, a processor and the commands, with certificates and logins that are taken and such as are not.

use crate::{
    Agent, Place, agent,
    common::{self, Running, amoskys, exit_code, free_port, http_get, until},
    each_says_one_line, open, said,
};
use amoskys_bus::{
    Address, Security,
    testing::{KafkaBroker, KafkaOptions},
};
use std::{fs, io::Read, process::Stdio, sync::LazyLock};

/// One for all; it ends with this process.
static BROKER: LazyLock<KafkaBroker> =
    LazyLock::new(|| KafkaBroker::start_with(KafkaOptions { tls: true, ..KafkaOptions::default() }));

/// `[bus]` of somebody who trusts that authority.
fn trusting(authority: &str) -> String {
    format!("security_protocol = \"ssl\"\nca_file = \"{}\"\n", BROKER.tls_file(authority))
}

/// And who has that certificate.
fn known_as(name: &str) -> String {
    let file = |ending: &str| BROKER.tls_file(&format!("{name}.{ending}"));
    let (certificate, key) = (file("pem"), file("key"));
    format!("{}certificate_file = \"{certificate}\"\nkey_file = \"{key}\"\n", trusting("ca.pem"))
}

/// `[bus]` of a login over TLS.
fn login(mechanism: &str, password: &str) -> String {
    let secured = trusting("ca.pem").replace("ssl\"", "sasl_ssl\"");
    format!("{secured}sasl_mechanism = \"{mechanism}\"\nusername = \"admin\"\npassword = \"{password}\"\n")
}

#[test]
fn agents_that_are_known_publish_what_they_sign() {
    let place = Place::new();
    let plain = open(&BROKER.address().to_string(), Security::default(), Vec::new());
    let mutual = BROKER.mutual_tls_address().to_string();
    let sasl = BROKER.sasl_tls_address().to_string();
    let agents = [
        ("mutual", &mutual, known_as("client")),
        ("plain", &sasl, login("PLAIN", "admin-secret")),
        ("scram", &sasl, login("SCRAM-SHA-256", "admin-secret")),
    ];
    let running = agents.map(|(name, address, bus)| (name, Agent::start(&place, name, address, &bus, true)));
    for (name, agent) in running {
        until(&format!("telemetry of {name}"), || {
            assert_eq!(agent.lines(), Vec::<String>::new());
            http_get(agent.port, "/readyz").is_some_and(|(ready, _)| ready) && place.signed(plain.as_ref(), name) > 0
        });
    }
}

#[test]
fn agents_that_are_refused_say_why_in_one_line_and_go_on() {
    let place = Place::new();
    let (tls, mutual) = (BROKER.tls_address(), BROKER.mutual_tls_address());
    let (sasl, expired, elsewhere) = (BROKER.sasl_tls_address(), BROKER.expired_address(), BROKER.elsewhere_address());
    let file = |name: &str| BROKER.tls_file(name);
    let own = "certificate_file and key_file under [bus]";
    let wrong_password = "does not take the login of `admin`";
    let cases: Vec<(&str, &Address, String, Vec<String>)> = vec![
        (
            "authority",
            &tls,
            trusting("other-ca.pem"),
            vec![format!("is by an authority that is not in {}; check ca_file", file("other-ca.pem"))],
        ),
        ("expired", &expired, trusting("ca.pem"), vec!["expired at 2021-01-01T00:00:00Z; renew it there".into()]),
        (
            "elsewhere",
            &elsewhere,
            trusting("ca.pem"),
            vec!["is for elsewhere.example, not for 127.0.0.1; name the broker as it does".into()],
        ),
        (
            "nameless",
            &mutual,
            trusting("ca.pem"),
            vec![format!("wants a certificate of the client, and none is set; set {own}")],
        ),
        (
            "stranger",
            &mutual,
            known_as("stranger"),
            vec![format!("refuses the client's certificate {}", file("stranger.pem")), own.into()],
        ),
        (
            "outdated",
            &mutual,
            known_as("client-expired"),
            vec![format!("{}, which expired at 2021-01-01T00:00:00Z; renew it", file("client-expired.pem"))],
        ),
        (
            "plain",
            &sasl,
            login("PLAIN", "not-the-password"),
            vec![wrong_password.into(), "check username, password".into()],
        ),
        (
            "scram",
            &sasl,
            login("SCRAM-SHA-256", "not-the-password"),
            vec![wrong_password.into(), "check username".into()],
        ),
        ("mechanism", &sasl, login("SCRAM-SHA-512", "admin-secret"), vec!["mechanisms: PLAIN,SCRAM-SHA-256".into()]),
    ];
    let agents = cases.into_iter().map(|(name, address, bus, mut parts)| {
        // Whoever it is about, by address.
        parts.push(format!(" {}", address.to_string().trim_start_matches("kafka://")));
        (Agent::start(&place, name, &address.to_string(), &bus, false), parts)
    });
    let mut agents: Vec<(Agent, Vec<String>)> = agents.collect();
    each_says_one_line(&agents);
    // Its host's events are in the write-ahead log meanwhile, and the probe tells why.
    for (agent, parts) in &mut agents {
        let (well, body) = http_get(agent.port, "/healthz").expect("an answer");
        assert!(!well && body.contains(&parts[0]), "{body}");
        assert_eq!(agent.running.0.try_wait().expect("a child"), None);
    }
}

#[test]
fn an_agent_a_processor_and_the_commands_speak_tls_and_say_what_certificate_is_wrong() {
    let place = Place::new();

    // Somebody who trusts another authority is told so when the topics are asked for, not after a time of trying.
    let mutual = BROKER.mutual_tls_address().to_string();
    let stranger = known_as("client").replace("/ca.pem", "/other-ca.pem");
    let wrong = place.agent_file("wrong", &mutual, free_port(), &stranger);
    let (_, error, code) = said(agent(&wrong).args(["--create-topics", "1"]));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains(&format!("no TLS with {mutual}")) && error.contains("is by an authority"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");

    // With the right authority its state reaches the log, and is read through the listener with a login.
    let _agent = Agent::start(&place, "right", &mutual, &known_as("client"), true);
    let ca = BROKER.tls_file("ca.pem");
    let properties = place.write(
        "client.properties",
        &format!(
            "security.protocol=sasl_ssl\nssl.ca.location={ca}\nsasl.mechanism=PLAIN\nsasl.username=admin\n\
         sasl.password=admin-secret\n"
        ),
    );
    let login = BROKER.sasl_tls_address().to_string();
    until("its state is on the log", || {
        let tail = ["topics", "tail", "amoskys.agent.status.v1", "--max", "1", "--bus", &login, "-F"];
        let (out, _, code) = said(amoskys().args(tail).arg(&properties));
        code == Some(0) && out.contains("snapshots")
    });

    // A processor that comes without a certificate ends, and says why.
    let stream = "CREATE EXTERNAL TABLE a (v BIGINT) STORED AS JSON LOCATION 'amoskys.agent.status.v1';\n\
                  CREATE EXTERNAL TABLE b (v BIGINT) STORED AS JSON LOCATION 'amoskys.alerts.v1';\n\
                  INSERT INTO b SELECT v FROM a;\n";
    let sql = place.write("copy.sql", stream);
    let nameless = format!("[bus]\nsecurity_protocol = \"ssl\"\nca_file = \"{ca}\"\n");
    let port = free_port();
    let file = place.write(
        "processor.toml",
        &format!(
            "[processor]\nbus_address = \"{mutual}\"\nverify = \"off\"\nmetrics_port = {port}\nhealth_port = {port}\n{nameless}"
        ),
    );
    let (_, error, code) = said(amoskys().arg("process").arg(&sql).arg("--config").arg(&file));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("wants a certificate of the client, and none is set; set certificate_file"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");

    // With one it runs, and owns the partition.
    fs::write(
        &file,
        fs::read_to_string(&file).expect("read").replace(&nameless, &format!("[bus]\n{}", known_as("client"))),
    )
    .expect("written");
    let mut process = amoskys();
    process.arg("process").arg(&sql).arg("--config").arg(&file).stderr(Stdio::piped());
    let mut running = Running(process.spawn().expect("starts"));
    until("it is ready", || http_get(port, "/readyz").is_some_and(|(ready, _)| ready));
    common::send(&running, rustix::process::Signal::TERM);
    let code = exit_code(&mut running, "its end");
    let mut error = String::new();
    running.0.stderr.take().expect("piped").read_to_string(&mut error).expect("UTF-8");
    assert_eq!(code, Some(0), "{error}");
}
