//! NATS: agents with certificates and logins that are taken and such as are not, at the start and when it comes later.

use crate::{
    Agent, LISTENED, Place, agent,
    common::{amoskys, free_port, http_get, until},
    each_says_one_line, open, said,
};
use amoskys_bus::{
    Bus, Security,
    testing::{NatsOptions, NatsServer, make_certificates},
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    thread,
};

/// Of the nkey that `infra/dev/nats/run --help` names.
const NKEY_SEED: &str = "SUAGC3LPONVXS4ZNMRSXMZLMN5YG2ZLOOQWW63TMPEWW423FPEWTAMNFIU";
const OTHER_SEED: &str = "SUAGC3LPONVXS4ZNMRSXMZLMN5YG2ZLOOQWW65DIMVZC23TLMV4S2MEKOE";

/// Properties of a login.
type Login<'a> = &'a [(&'a str, &'a str)];

/// For all; the folder stays for as long as this process.
static CERTIFICATES: LazyLock<(tempfile::TempDir, PathBuf)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let certificates = folder.path().join("tls");
    make_certificates(&certificates);
    (folder, certificates)
});

fn file(name: &str) -> String {
    CERTIFICATES.1.join(name).display().to_string()
}

/// A server with that certificate, or of that path; `more` as `infra/dev/nats/run` takes it.
fn server(certificate: &str, more: &[&str]) -> NatsServer {
    let path = |ending: &str| match certificate.starts_with('/') {
        true => format!("{certificate}.{ending}"),
        false => file(&format!("{certificate}.{ending}")),
    };
    let mut arguments = ["--tls", "--certificate", &path("pem"), "--key", &path("key")].map(str::to_owned).to_vec();
    arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    NatsServer::start_with(NatsOptions { arguments })
}

/// `[bus]` of somebody who trusts that authority, with more of it.
fn trusting(authority: &str, more: &str) -> String {
    format!("security_protocol = \"ssl\"\nca_file = \"{}\"\n{more}", file(authority))
}

fn known_as(name: &str) -> String {
    let (certificate, key) = (file(&format!("{name}.pem")), file(&format!("{name}.key")));
    trusting("ca.pem", &format!("certificate_file = \"{certificate}\"\nkey_file = \"{key}\"\n"))
}

fn user(password: &str) -> String {
    trusting("ca.pem", &format!("username = \"admin\"\npassword = \"{password}\"\n"))
}

/// A login by a file.
fn by_file(property: &str, file: &Path) -> String {
    trusting("ca.pem", &format!("properties = {{ \"{property}\" = \"{}\" }}\n", file.display()))
}

/// Somebody who may read what agents write, by a certificate and by what of a login is set.
fn reading(login: Login<'_>, server: &NatsServer) -> Arc<dyn Bus> {
    let security = Security {
        protocol: Some("ssl".to_owned()),
        ca_file: Some(file("ca.pem")),
        certificate_file: Some(file("client.pem")),
        key_file: Some(file("client.key")),
        ..Security::default()
    };
    let extra = login.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    open(&server.address().to_string(), security, extra)
}

/// The agent has said nothing by then.
fn until_telemetry(place: &Place, agent: &Agent, server: &NatsServer, login: Login<'_>, name: &str) {
    until("it runs", || http_get(agent.port, "/readyz").is_some_and(|(ready, _)| ready));
    let bus = reading(login, server);
    until(&format!("telemetry of {name}"), || place.signed(bus.as_ref(), name) > 0);
    assert_eq!(agent.lines(), Vec::<String>::new());
}

#[test]
fn agents_that_are_known_publish_what_they_sign() {
    let place = Place::new();
    let (mutual, users) = (server("server", &["--ca", &file("ca.pem")]), server("server", &["--users"]));
    let (seed, token, credentials) =
        (place.write("seed", NKEY_SEED), place.write("token", "t"), place.path("user.creds"));
    let (seed_file, token_file) = (seed.display().to_string(), token.display().to_string());
    let credentials_file = credentials.display().to_string();
    let (by_token, by_credentials) =
        (server("server", &["--token", "t"]), server("server", &["--credentials", &credentials_file]));
    let admin = [("sasl.username", "admin"), ("sasl.password", "admin-secret")];
    let cases: [(&str, &NatsServer, String, Login<'_>); 5] = [
        ("mutual", &mutual, known_as("client"), &[]),
        ("user", &users, user("admin-secret"), &admin),
        ("nkey", &users, by_file("nkey.seed.file", &seed), &[("nkey.seed.file", &seed_file)]),
        ("token", &by_token, by_file("token.file", &token), &[("token.file", &token_file)]),
        (
            "credentials",
            &by_credentials,
            by_file("credentials.file", &credentials),
            &[("credentials.file", &credentials_file)],
        ),
    ];
    for (name, server, bus, login) in cases {
        let agent = Agent::start(&place, name, &server.address().to_string(), &bus, true);
        until_telemetry(&place, &agent, server, login, name);
    }
}

#[test]
fn agents_that_are_refused_say_why_in_one_line_and_go_on() {
    let place = Place::new();
    let mutual = server("server", &["--ca", &file("ca.pem")]);
    let users = server("server", &["--users"]);
    let token = server("server", &["--token", "the-token"]);
    let (credentials, others) = (place.path("user.creds"), place.path("others.creds"));
    let by_credentials =
        [&credentials, &others].map(|file| server("server", &["--credentials", file.to_str().expect("UTF-8")]));
    let (seed, wrong_token) = (place.write("seed", OTHER_SEED), place.write("token", "not-the-password"));
    let (expired, elsewhere) = (server("server-expired", &[]), server("server-elsewhere", &[]));
    let own = "certificate_file and key_file under [bus]";
    let no_login = "does not take the login";
    let (stranger, outdated) = (file("stranger.pem"), file("client-expired.pem"));
    let authority = format!("is by an authority that is not in {}; check ca_file", file("other-ca.pem"));
    let cases: [(&str, &NatsServer, String, Vec<&str>); 11] = [
        ("authority", &users, trusting("other-ca.pem", ""), vec![authority.as_str()]),
        ("expired", &expired, trusting("ca.pem", ""), vec!["expired at 2021-01-01T00:00:00Z; renew it there"]),
        (
            "elsewhere",
            &elsewhere,
            trusting("ca.pem", ""),
            vec!["is for elsewhere.example, not for 127.0.0.1; name the broker"],
        ),
        (
            "nameless",
            &mutual,
            trusting("ca.pem", ""),
            vec!["wants a certificate of the client, and none is set; set", own],
        ),
        ("stranger", &mutual, known_as("stranger"), vec!["refuses the client's certificate", &stranger, own]),
        (
            "outdated",
            &mutual,
            known_as("client-expired"),
            vec![&outdated, "which expired at 2021-01-01T00:00:00Z; renew it"],
        ),
        ("user", &users, user("not-the-password"), vec![no_login, "of `admin`", "check username and password"]),
        ("nobody", &users, trusting("ca.pem", ""), vec![no_login, "check username and password"]),
        ("nkey", &users, by_file("nkey.seed.file", &seed), vec![no_login, "nkey"]),
        ("token", &token, by_file("token.file", &wrong_token), vec![no_login, "token"]),
        ("others", &by_credentials[0], by_file("credentials.file", &others), vec![no_login, "credentials"]),
    ];
    let agents = cases.into_iter().map(|(name, server, bus, parts)| {
        let address = server.address().to_string();
        // Whoever it is about, by address.
        let host = address.trim_start_matches("nats://");
        let parts = parts.into_iter().chain([host]).map(str::to_owned).collect();
        (Agent::start(&place, name, &address, &bus, false), parts)
    });
    let mut agents: Vec<(Agent, Vec<String>)> = agents.collect();
    each_says_one_line(&agents);
    // Its host's events are in the write-ahead log meanwhile, and the probe tells why.
    for (agent, parts) in &mut agents {
        until("its log fills", || kept_events(agent) > 0);
        let (well, body) = http_get(agent.port, "/healthz").expect("an answer");
        assert!(!well && body.contains(&parts[0]), "{body}");
        assert_eq!(agent.running.0.try_wait().expect("a child"), None);
    }
    drop(agents);

    // Who is to make topics cannot go on without the server, and ends; so does who has files that are no good.
    let port = free_port();
    let (_, error, code) = said(
        agent(&place.agent_file("topics", &expired.address().to_string(), port, &trusting("ca.pem", "")))
            .args(["--create-topics", "1"]),
    );
    assert_eq!((code, error.lines().count()), (Some(2), 1), "{error}");
    assert!(error.contains("expired at 2021-01-01T00:00:00Z; renew it there"), "{error}");
    let no_key = known_as("client").replace("client.key", "client.pem");
    for (bus, parts) in [
        (trusting("no-such.pem", ""), ["bus.ca_file", "no-such.pem"]),
        (known_as("client").replace("client.pem", "no-such.pem"), ["bus.certificate_file", "no-such.pem"]),
        (no_key, ["key.location", "client.pem"]),
        (by_file("token.file", Path::new("/no/such")), ["token.file", "/no/such"]),
    ] {
        let (_, error, code) = said(&mut agent(&place.agent_file("wrong", &mutual.address().to_string(), port, &bus)));
        assert_eq!(code, Some(2), "{error}");
        assert!(parts.iter().all(|part| error.contains(part)), "{parts:?}: {error}");
    }

    // And so does a processor that is refused.
    let sql = place.write(
        "copy.sql",
        "CREATE EXTERNAL TABLE a (v BIGINT) STORED AS JSON LOCATION 'a';\n\
         CREATE EXTERNAL TABLE b (v BIGINT) STORED AS JSON LOCATION 'b';\nINSERT INTO b SELECT v FROM a;\n",
    );
    let (address, port) = (expired.address(), free_port());
    let file = place.write(
        "processor.toml",
        &format!(
            "[processor]\nbus_address = \"{address}\"\nverify = \"off\"\nmetrics_port = {port}\nhealth_port = {port}\n[bus]\n{}",
            trusting("ca.pem", "")
        ),
    );
    let (_, error, code) = said(amoskys().arg("process").arg(&sql).arg("--config").arg(&file));
    assert_eq!((code, error.lines().count()), (Some(2), 1), "{error}");
    assert!(error.contains("expired at 2021-01-01T00:00:00Z; renew it there"), "{error}");
}

/// Events in the agent's write-ahead log.
fn kept_events(agent: &Agent) -> u64 {
    let (_, page) = http_get(agent.port, "/metrics").unwrap_or_default();
    let values = page.lines().filter(|line| line.starts_with("amoskys_agent_wal_events"));
    values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

#[test]
fn an_agent_that_was_refused_at_its_start_sends_what_it_kept_once_it_is_taken() {
    let place = Place::new();
    let mut server = server("server", &["--token", "the-old-one"]);
    let address = server.address().to_string();
    let files = ["old", "new"].map(|age| place.write(age, &format!("the-{age}-one")));
    let [old, new] = files.each_ref().map(|file| file.display().to_string());
    // Another one has made the topics.
    let first = Agent::start(&place, "first", &address, &by_file("token.file", &files[0]), true);
    until_telemetry(&place, &first, &server, &[("token.file", &old)], "first");
    drop(first);

    let parts = vec!["does not take the login".to_owned(), "token".to_owned()];
    let agent = Agent::start(&place, "early", &address, &by_file("token.file", &files[1]), false);
    let agents = [(agent, parts)];
    each_says_one_line(&agents);
    let [(agent, _)] = agents;
    until("its log fills", || kept_events(&agent) > 0);
    let lines = agent.lines();

    server.stop();
    let configuration = server.folder().join("server.conf");
    let text = fs::read_to_string(&configuration).expect("read");
    fs::write(&configuration, text.replace("the-old-one", "the-new-one")).expect("written");
    server.restart();
    until("it is well", || http_get(agent.port, "/healthz").is_some_and(|(well, _)| well));
    let bus = reading(&[("token.file", &new)], &server);
    until("what it kept", || place.signed(bus.as_ref(), "early") > 0 && kept_events(&agent) == 0);
    assert_eq!(agent.lines(), lines);
}

#[test]
fn an_agent_that_runs_tells_once_of_a_certificate_that_went_bad_and_goes_on_with_a_good_one() {
    let place = Place::new();
    let put = |name: &str| {
        for ending in ["pem", "key"] {
            fs::copy(file(&format!("{name}.{ending}")), place.path(&format!("current.{ending}"))).expect("copied");
        }
    };
    put("server");
    let current = place.path("current").display().to_string();
    let mut server = server(&current, &["--ca", &file("ca.pem")]);
    let address = server.address().to_string();
    let agent = Agent::start(&place, "steady", &address, &known_as("client"), true);
    until_telemetry(&place, &agent, &server, &[], "steady");

    server.stop();
    put("server-expired");
    server.restart();
    let host = address.trim_start_matches("nats://");
    let told =
        format!("no TLS with {address}: the certificate of {host} expired at 2021-01-01T00:00:00Z; renew it there");
    until("it tells", || agent.lines().iter().any(|line| line.contains(&told)));
    thread::sleep(LISTENED);
    // It may have noticed before that nobody was there.
    let away = format!("error={address} cannot be reached: ");
    let lines = agent.lines();
    let (of_certificate, others): (Vec<&String>, Vec<&String>) = lines.iter().partition(|line| line.contains(&told));
    assert!(
        of_certificate.len() == 1 && others.len() <= 1 && others.iter().all(|line| line.contains(&away)),
        "{lines:#?}"
    );

    server.stop();
    put("server");
    server.restart();
    until("it is well again", || http_get(agent.port, "/healthz").is_some_and(|(well, _)| well));
    assert_eq!(agent.lines(), lines);
}
