//! Why two sides do not come to terms over TLS or a login, in words that say whose certificate it is, what is wrong with
//! it and what to look at. The clients' libraries know, but do not say: librdkafka tells every broker's certificate that is not
//! taken in the same words, and async-nats nothing but that there was an error once it tries again.
//!
//! So the broker is asked once more, by a handshake that ends without a word of the log's protocol. Deliberately not here: what is
//! done about it, and any decision of whom to trust, which stays with the libraries.
//! Limits: where this handshake finds nothing wrong, nothing is said, and the library's own words stay. A text does not
//! change from one try to the next, so that whoever logs it can see that it is the same.

use crate::Security;
use async_nats::rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, Error, RootCertStore,
    client::Resumption,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::{
    io::{self, BufRead, BufReader, Read},
    net::{TcpStream, ToSocketAddrs},
    sync::Arc,
    time::{Duration, SystemTime},
};

/// For each step of the handshake.
const STEP_WITHIN: Duration = Duration::from_secs(2);
/// With TLS 1.3 a broker says only after the handshake what it has against the client.
const REFUSAL_WITHIN: Duration = Duration::from_millis(500);
/// Longest line that a NATS server begins with.
const GREETING_BYTES_MAX: u64 = 64 << 10;

const SEE_AUTHORITY: &str = "check ca_file under [bus] (property ssl.ca.location)";
const SEE_OWN: &str =
    "certificate_file and key_file under [bus] (properties ssl.certificate.location and ssl.key.location)";
/// Beside a text that is not ours.
pub(crate) const SEE_ALL: &str = "see ca_file, certificate_file and key_file under [bus] (properties ssl.ca.location, \
                                  ssl.certificate.location and ssl.key.location)";

/// What is set of TLS and of a login; never the password.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trust {
    is_wanted: bool,
    ca_file: Option<String>,
    certificate_file: Option<String>,
    key_file: Option<String>,
    user: Option<String>,
}

impl Trust {
    pub(crate) fn of(security: Security) -> Self {
        let protocol = security.protocol.unwrap_or_default().to_ascii_lowercase();
        Self {
            is_wanted: protocol.ends_with("ssl"),
            ca_file: security.ca_file,
            certificate_file: security.certificate_file,
            key_file: security.key_file,
            user: security.username,
        }
    }

    /// Whether TLS is asked for, or files that are of use for nothing else are named.
    pub(crate) fn is_set(&self) -> bool {
        self.is_wanted || self.ca_file.is_some() || self.certificate_file.is_some()
    }

    /// Whether the files that are named can be used; else which cannot, and why. Whom they are by is not asked.
    pub(crate) fn check_files(&self) -> Result<(), String> {
        let named = |setting: &str, file: &str, error: io::Error| format!("`{setting}` cannot be `{file}`: {error}");
        if let Some(file) = &self.ca_file {
            certificates(file).map_err(|error| named("ssl.ca.location", file, error))?;
        }
        if let (Some(certificate), Some(key)) = (&self.certificate_file, &self.key_file) {
            certificates(certificate).map_err(|error| named("ssl.certificate.location", certificate, error))?;
            let read = PrivateKeyDer::from_pem_file(key).map_err(io::Error::other);
            read.map_err(|error| named("ssl.key.location", key, error))?;
        }
        Ok(())
    }

    /// Asks a Kafka broker, `host:port`, what is wrong with its certificate.
    pub(crate) fn ask_kafka(&self, broker: &str) -> Option<String> {
        self.ask(broker, false)
    }

    /// Asks NATS servers, `host:port`, one after the other; what is wrong with the first with which something is.
    pub(crate) fn ask_nats(&self, servers: &[String]) -> Option<String> {
        servers.iter().find_map(|server| self.ask(server, true))
    }

    fn ask(&self, broker: &str, greets: bool) -> Option<String> {
        let asked = self.handshake(broker, greets);
        if let Err(error) = &asked {
            tracing::debug!(target: "amoskys_bus::trust", broker, %error, "asked for its certificate");
        }
        let error = asked.err()?;
        match error.get_ref()?.downcast_ref::<Error>()? {
            Error::InvalidCertificate(error) => Some(self.of_broker(error, broker)),
            Error::AlertReceived(alert) if is_of_certificate(u8::from(*alert)) => {
                Some(self.of_client(u8::from(*alert), broker))
            }
            _ => None,
        }
    }

    fn handshake(&self, broker: &str, greets: bool) -> io::Result<()> {
        let host = broker.rsplit_once(':').map_or(broker, |(host, _)| host).trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let address = broker.to_socket_addrs()?.next().ok_or_else(|| io::Error::other("no address"))?;
        let mut stream = TcpStream::connect_timeout(&address, STEP_WITHIN)?;
        stream.set_read_timeout(Some(STEP_WITHIN))?;
        stream.set_write_timeout(Some(STEP_WITHIN))?;
        if greets {
            let mut greeting = String::new();
            // A buffer of one byte: what follows the line is not for us.
            BufReader::with_capacity(1, &stream).take(GREETING_BYTES_MAX).read_line(&mut greeting)?;
            if !self.is_wanted && !greeting.contains("\"tls_required\":true") {
                return Ok(());
            }
        }
        let mut client = ClientConnection::new(Arc::new(self.config()?), name).map_err(io::Error::other)?;
        while client.is_handshaking() {
            client.complete_io(&mut stream)?;
        }
        stream.set_read_timeout(Some(REFUSAL_WITHIN))?;
        loop {
            match client.read_tls(&mut stream) {
                Ok(1..) => client.process_new_packets().map_err(io::Error::other)?,
                // Hung up, or silent, waiting for us: nothing against the client.
                _ => return Ok(()),
            };
        }
    }

    /// What these settings mean to a client.
    pub(crate) fn config(&self) -> io::Result<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
        let builder = builder.with_root_certificates(self.authorities()?);
        let mut config = match (&self.certificate_file, &self.key_file) {
            (Some(certificate), Some(key)) => {
                let key = PrivateKeyDer::from_pem_file(key).map_err(io::Error::other)?;
                builder.with_client_auth_cert(certificates(certificate)?, key).map_err(io::Error::other)?
            }
            _ => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    fn authorities(&self) -> io::Result<RootCertStore> {
        let mut store = RootCertStore::empty();
        let certificates = match &self.ca_file {
            Some(file) => certificates(file)?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        store.add_parsable_certificates(certificates);
        Ok(store)
    }

    /// What is wrong with the certificate that a broker shows.
    fn of_broker(&self, error: &CertificateError, broker: &str) -> String {
        let its = format!("the certificate of {broker}");
        match error {
            CertificateError::UnknownIssuer => {
                let known = self.ca_file.as_ref().map_or("among the system's".to_owned(), |file| format!("in {file}"));
                format!("{its} is by an authority that is not {known}; {SEE_AUTHORITY}")
            }
            CertificateError::ExpiredContext { not_after, .. } => {
                format!("{its} expired at {}; renew it there, if this host's clock is right", written(*not_after))
            }
            CertificateError::NotValidYetContext { not_before, .. } => {
                format!("{its} is good only from {}; check this host's clock, and the broker's", written(*not_before))
            }
            CertificateError::NotValidForNameContext { expected, presented } => {
                let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
                let names = if names.is_empty() { "no host".to_owned() } else { names.join(", ") };
                let asked = expected.to_str();
                format!(
                    "{its} is for {names}, not for {asked}; name the broker as it does, or have it made for {asked}"
                )
            }
            other => format!("{its} cannot be taken: {other}; {SEE_ALL}"),
        }
    }

    /// What a broker has against the client, by the number of its alert.
    pub(crate) fn of_client(&self, alert: u8, broker: &str) -> String {
        let Some(file) = &self.certificate_file else {
            return format!("{broker} wants a certificate of the client, and none is set; set {SEE_OWN}");
        };
        match validity(file) {
            Some(CertificateError::ExpiredContext { not_after, .. }) => {
                format!(
                    "{broker} refuses the client's certificate {file}, which expired at {}; renew it",
                    written(not_after)
                )
            }
            Some(CertificateError::NotValidYetContext { not_before, .. }) => {
                let from = written(not_before);
                format!(
                    "{broker} refuses the client's certificate {file}, which is good only from {from}; check the clocks"
                )
            }
            _ => {
                let why = AlertDescription::from(alert);
                format!(
                    "{broker} refuses the client's certificate {file} ({why:?}); is it by an authority that the broker trusts? see {SEE_OWN}"
                )
            }
        }
    }

    /// A login that a broker does not take; `why` in its words, `check` what of `[bus]` is to be looked at.
    pub(crate) fn of_login(&self, why: &str, broker: &str, check: &str) -> String {
        let login = self.user.as_ref().map_or_else(|| "the login".to_owned(), |user| format!("the login of `{user}`"));
        format!("{broker} does not take {login} ({why}); check {check} under [bus]")
    }
}

/// Whether an alert is about the client's certificate. `handshake_failure` is what TLS 1.2 says where there is none.
pub(crate) fn is_of_certificate(alert: u8) -> bool {
    matches!(alert, 40..=46 | 48 | 49 | 116)
}

fn certificates(file: &str) -> io::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(file).map_err(io::Error::other)?.collect::<Result<_, _>>().map_err(io::Error::other)
}

/// What the clock has against the first certificate of a file. It is its own authority here: who signed it is the
/// broker's business.
fn validity(file: &str) -> Option<CertificateError> {
    let certificate = certificates(file).ok()?.into_iter().next()?;
    let mut store = RootCertStore::empty();
    store.add(certificate.clone()).ok()?;
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider).build().ok()?;
    match verifier.verify_client_cert(&certificate, &[], UnixTime::now()) {
        Err(Error::InvalidCertificate(error)) => Some(error),
        _ => None,
    }
}

fn written(time: UnixTime) -> String {
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs())).to_string()
}

/// The name in rustls' `DnsName("elsewhere.example")` and `IpAddress(127.0.0.1)`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').map_or(name, |(_, rest)| rest.trim_end_matches(')'));
    inner.trim_matches('"')
}
