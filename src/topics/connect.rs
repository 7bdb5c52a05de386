//! `--bus` and what goes with it, shared by all commands here.

use crate::cli::Misuse;
use amoskys_bus::{Address, Bus, BusOptions, Security};
use anyhow::Context;
use std::{fs, path::PathBuf, sync::Arc};

/// Longest file of properties.
const PROPERTIES_BYTES_MAX: u64 = 64 << 10;

/// Which log, and how to log in.
#[derive(Debug, Clone, clap::Args)]
pub struct BusArguments {
    /// The log: kafka://host:port[,host:port], nats://host:port[,host:port] or local:PATH
    #[arg(long, value_name = "URL", env = "AMOSKYS_BUS")]
    pub bus: Address,
    #[command(flatten)]
    pub login: Login,
}

/// How to log in.
#[derive(Debug, Clone, clap::Args)]
pub struct Login {
    /// A property of librdkafka's or of a NATS login, e.g. security.protocol=SASL_SSL; may be given again
    #[arg(short = 'X', long = "property", value_name = "KEY=VALUE", value_parser = key_value)]
    pub properties: Vec<(String, String)>,
    /// A file of such properties, one a line, `#` for comments: the place for passwords
    #[arg(short = 'F', long = "property-file", value_name = "FILE")]
    pub property_file: Option<PathBuf>,
}

impl BusArguments {
    /// As [`Login::open`].
    pub fn open(&self, create: bool) -> anyhow::Result<Arc<dyn Bus>> {
        self.login.open(&self.bus, create)
    }
}

impl Login {
    /// Opens the log. A folder that is no local log is not made into one unless `create` says so.
    pub fn open(&self, address: &Address, create: bool) -> anyhow::Result<Arc<dyn Bus>> {
        if let Address::Local { path } = address
            && !create
            && !amoskys_bus::local::is_log(path)
        {
            let hint = "start what writes to it first, or make it with `amoskys topics create`";
            anyhow::bail!(Misuse(format!("there is no local log at {}; {hint}", path.display())));
        }
        let mut extra = self.file_properties()?;
        extra.extend(self.properties.iter().cloned());
        let (address, client_id) = (address.clone(), "amoskys-topics".to_owned());
        Ok(amoskys_bus::open(&BusOptions { address, security: Security::default(), client_id, extra })?)
    }

    fn file_properties(&self) -> anyhow::Result<Vec<(String, String)>> {
        let Some(path) = &self.property_file else { return Ok(Vec::new()) };
        let file = path.display();
        let read = || -> std::io::Result<String> {
            let bytes = fs::metadata(path)?.len();
            if bytes > PROPERTIES_BYTES_MAX {
                return Err(std::io::Error::other(format!("{bytes} bytes, more than {PROPERTIES_BYTES_MAX}")));
            }
            fs::read_to_string(path)
        };
        let text = read().map_err(|error| Misuse(format!("{file} cannot be read: {error}")))?;
        let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty());
        let wanted = lines.filter(|(_, line)| !line.starts_with('#'));
        wanted
            .map(|(index, line)| {
                // Without the line itself, which may hold a password.
                key_value(line).map_err(|_| Misuse(format!("{file}:{}: write KEY=VALUE", index + 1)))
            })
            .collect::<Result<_, _>>()
            .context("the file of properties is wrong")
    }
}

/// Splits at the first `=`.
pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err(format!("`{text}` is not KEY=VALUE")),
    }
}
