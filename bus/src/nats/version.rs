//! Which servers will do. Pure.
//!
//! Older ones take our requests and ignore what they do not know, so they are refused before anything is asked.

use crate::BusError;

/// The oldest server that works.
const OLDEST: Version = Version(2, 10);
/// From here on a publish may be made to depend on another subject's last message, which fences zombies (see `fence`).
const FENCES: Version = Version(2, 11);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(u32, u32);

impl Version {
    /// The version that a server names, when it will do.
    pub(super) fn check(text: &str, address: &str) -> Result<Self, BusError> {
        let found = Self::parse(text).ok_or_else(|| BusError::Misconfigured {
            detail: format!(
                "{address} names its version `{text}`, which is none; nats-server of 2.10 or newer is needed"
            ),
        })?;
        if found < OLDEST {
            let detail = format!(
                "{address} is nats-server {text}, 2.10 or newer is needed: older ones silently ignore filter_subjects, \
                 so that a consumer reads partitions that it did not ask for, and do not keep a stream's metadata"
            );
            return Err(BusError::Misconfigured { detail });
        }
        Ok(found)
    }

    pub(super) fn has_fences(self) -> bool {
        self >= FENCES
    }

    /// What `exactly_once` means on this server, for people (docs/recovery.md has it in full).
    pub(super) fn guarantee(self) -> &'static str {
        if self.has_fences() {
            "exactly once, also after a stop of any length, on streams of one replica"
        } else {
            "exactly once, but for a member that stands still for over a minute in the middle of a write: it may double \
             outputs; nats-server 2.11 or newer rules that out"
        }
    }

    /// Major and minor; `2.11.0-preview.1` counts as 2.11.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim_start_matches('v').split(['.', '-', '+']);
        Some(Version(parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_are_refused_with_the_reason() {
        for old in ["2.9.10", "2.9.25", "1.4.0", "v2.9.0-beta"] {
            let error = Version::check(old, "nats://a:1").expect_err(old).to_string();
            for part in [old, "2.10", "filter_subjects", "nats://a:1"] {
                assert!(error.contains(part), "{error}");
            }
        }
        Version::check("unknown", "nats://a:1").expect_err("no version");
    }

    #[test]
    fn newer_servers_will_do() {
        for (text, fences) in [("2.10.0", false), ("2.10.29", false), ("2.11.0-preview.1", true), ("3.0.0", true)] {
            let version = Version::check(text, "").expect(text);
            assert_eq!(version.has_fences(), fences, "{text}");
            assert_eq!(version.guarantee().contains("may double"), !fences, "{text}");
        }
    }
}
