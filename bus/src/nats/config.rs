//! The connection's options from ours. What a setting means is that of librdkafka where both have it, so that one
//! configuration serves both logs.
//!
//! | ours | here |
//! |---|---|
//! | `security.protocol` | `plaintext`, `sasl_plaintext`: as the server asks; `ssl`, `sasl_ssl`: TLS or nothing |
//! | `sasl.mechanism` | `PLAIN`, or left out |
//! | `username`, `password` | user and password |
//! | certificate, key and CA files | PEM files; without a CA file the system's |
//! | extra `credentials.file`, `nkey.seed.file`, `token.file` | NATS's own kinds of login, from files |
//! | extra properties of librdkafka for the above | as the settings above, over which they win |

use crate::{Address, BusError, BusOptions, Security, trust::Trust};
use async_nats::{ConnectOptions, Event, ServerAddr};
use std::{path::PathBuf, time::Duration};

/// Messages of one subscription that wait to be taken; a subscription never asks for as many.
pub(super) const SUBSCRIPTION_MESSAGES_MAX: usize = 65_536;
/// Commands that wait for the connection.
const COMMANDS_MAX: usize = 4_096;
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// A connection on which nothing comes for twice as long is given up.
const PING_EVERY: Duration = Duration::from_secs(15);
const RECONNECT_AFTER_MAX: Duration = Duration::from_millis(1_000);

pub(super) fn servers(options: &BusOptions) -> Result<Vec<ServerAddr>, BusError> {
    let Address::Nats { servers } = &options.address else {
        return Err(BusError::Misconfigured { detail: format!("{} is no NATS address", options.address) });
    };
    let parsed = servers.iter().map(|server| format!("nats://{server}").parse());
    parsed.collect::<Result<_, _>>().map_err(|error: std::io::Error| BusError::Misconfigured {
        detail: format!("{} is no NATS address: {error}", options.address),
    })
}

pub(super) fn connect_options<F>(options: &BusOptions, on_event: F) -> Result<ConnectOptions, BusError>
where
    F: Fn(Event) + Send + Sync + 'static,
{
    let connect = ConnectOptions::new()
        .name(&options.client_id)
        .connection_timeout(CONNECT_WITHIN)
        .ping_interval(PING_EVERY)
        .subscription_capacity(SUBSCRIPTION_MESSAGES_MAX)
        .client_capacity(COMMANDS_MAX)
        .request_timeout(None)
        .reconnect_delay_callback(reconnect_after)
        .event_callback(move |event| {
            on_event(event);
            std::future::ready(())
        })
        // Subjects are ours; checking each would cost time per record.
        .skip_subject_validation(true);
    let (security, logins) = sorted(options);
    with_logins(with_password(with_tls(connect, &security)?, &security)?, &logins)
}

/// What is set of TLS and of a login, wherever it is set.
pub(super) fn trust(options: &BusOptions) -> Trust {
    Trust::of(sorted(options).0)
}

/// The security settings, those among the extra ones too, and the kinds of login that only NATS has.
fn sorted(options: &BusOptions) -> (Security, Vec<(&str, &str)>) {
    let (mut security, mut logins) = (options.security.clone(), Vec::new());
    for (name, value) in &options.extra {
        let field = match name.as_str() {
            "security.protocol" => &mut security.protocol,
            "ssl.ca.location" => &mut security.ca_file,
            "ssl.certificate.location" => &mut security.certificate_file,
            "ssl.key.location" => &mut security.key_file,
            "sasl.mechanism" | "sasl.mechanisms" => &mut security.sasl_mechanism,
            "sasl.username" => &mut security.username,
            "sasl.password" => &mut security.password,
            login => {
                logins.push((login, value.as_str()));
                continue;
            }
        };
        *field = Some(value.clone());
    }
    security.protocol = security.protocol.map(|protocol| protocol.to_ascii_lowercase());
    (security, logins)
}

/// The first attempt at once, the next soon, then without hammering.
fn reconnect_after(attempts: usize) -> Duration {
    match attempts {
        0 | 1 => Duration::ZERO,
        more => Duration::from_millis(20 << more.min(6)).min(RECONNECT_AFTER_MAX),
    }
}

fn with_tls(mut connect: ConnectOptions, security: &Security) -> Result<ConnectOptions, BusError> {
    match security.protocol.as_deref() {
        None | Some("plaintext" | "sasl_plaintext") => {}
        Some("ssl" | "sasl_ssl") => connect = connect.require_tls(true),
        Some(other) => {
            return Err(wrong("security.protocol", other, "write plaintext, ssl, sasl_plaintext or sasl_ssl"));
        }
    }
    if let Some(file) = &security.ca_file {
        connect = connect.add_root_certificates(existing("ssl.ca.location", file)?);
    }
    match (&security.certificate_file, &security.key_file) {
        (Some(certificate), Some(key)) => {
            let certificate = existing("ssl.certificate.location", certificate)?;
            Ok(connect.add_client_certificate(certificate, existing("ssl.key.location", key)?))
        }
        (None, None) => Ok(connect),
        _ => Err(BusError::Misconfigured { detail: "a client certificate and its key come together".to_owned() }),
    }
}

fn with_password(mut connect: ConnectOptions, security: &Security) -> Result<ConnectOptions, BusError> {
    if let Some(mechanism) = security.sasl_mechanism.as_deref().filter(|name| !name.eq_ignore_ascii_case("plain")) {
        return Err(wrong("sasl.mechanism", mechanism, "NATS knows PLAIN (user and password), or leave it out"));
    }
    match (&security.username, &security.password) {
        (Some(user), password) => {
            connect = connect.user_and_password(user.clone(), password.clone().unwrap_or_default());
        }
        (None, Some(_)) => {
            return Err(BusError::Misconfigured { detail: "a password without a user name".to_owned() });
        }
        (None, None) => {}
    }
    Ok(connect)
}

fn with_logins(mut connect: ConnectOptions, logins: &[(&str, &str)]) -> Result<ConnectOptions, BusError> {
    for (name, file) in logins {
        let text = || {
            let read = std::fs::read_to_string(file).map(|text| text.trim().to_owned());
            read.map_err(|error| wrong(name, file, &error.to_string()))
        };
        connect = match *name {
            "credentials.file" => {
                // Its last line must have an end.
                connect.credentials(&format!("{}\n", text()?)).map_err(|error| wrong(name, file, &error.to_string()))?
            }
            "nkey.seed.file" => connect.nkey(text()?),
            "token.file" => connect.token(text()?),
            other => {
                let known = "credentials.file, nkey.seed.file and token.file are known for NATS";
                return Err(BusError::Misconfigured { detail: format!("no setting `{other}`; {known}") });
            }
        };
    }
    Ok(connect)
}

fn existing(setting: &str, file: &str) -> Result<PathBuf, BusError> {
    match std::fs::metadata(file) {
        Ok(_) => Ok(file.into()),
        Err(error) => Err(wrong(setting, file, &error.to_string())),
    }
}

fn wrong(setting: &str, value: &str, why: &str) -> BusError {
    BusError::Misconfigured { detail: format!("nats setting `{setting}` cannot be `{value}`: {why}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(security: Security, extra: &[(&str, &str)]) -> BusOptions {
        BusOptions {
            address: "nats://a:1,b:2".parse().expect("address"),
            security,
            client_id: "test".into(),
            extra: extra.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        }
    }

    #[test]
    fn servers_are_those_of_the_address() {
        let servers = servers(&options(Security::default(), &[])).expect("servers");
        let found: Vec<_> = servers.iter().map(|server| (server.host().to_owned(), server.port())).collect();
        assert_eq!(found, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
    }

    #[test]
    fn wrong_settings_are_named() {
        let some = |text: &str| Some(text.to_owned());
        for (security, part) in [
            (Security { protocol: some("tls"), ..Security::default() }, "security.protocol"),
            (Security { sasl_mechanism: some("SCRAM-SHA-512"), ..Security::default() }, "sasl.mechanism"),
            (Security { ca_file: some("/no/such.pem"), ..Security::default() }, "ssl.ca.location"),
            (Security { certificate_file: some("/no/such.pem"), ..Security::default() }, "come together"),
            (Security { password: some("secret"), ..Security::default() }, "without a user"),
        ] {
            let error = connect_options(&options(security, &[]), |_| {}).expect_err("refused").to_string();
            assert!(error.contains(part) && !error.contains("secret"), "{error}");
        }
        for (name, part) in [
            ("no.such", "`no.such`"),
            ("credentials.file", "/no/such"),
            ("ssl.ca.location", "/no/such"),
            ("security.protocol", "write plaintext"),
        ] {
            let error = connect_options(&options(Security::default(), &[(name, "/no/such")]), |_| {});
            assert!(error.expect_err("refused").to_string().contains(part), "{name}");
        }
    }

    #[test]
    fn reconnecting_slows_down_to_a_bound() {
        let delays: Vec<Duration> = (0..40).map(reconnect_after).collect();
        assert!(delays.is_sorted());
        assert_eq!((delays[0], delays[39]), (Duration::ZERO, RECONNECT_AFTER_MAX));
    }
}
