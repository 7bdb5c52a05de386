//! What the records of a topic are, told by the topic's name or by the user.

use super::own::plain_name;
use crate::cli::Misuse;
use prost_reflect::{DescriptorPool, MessageDescriptor};

const PACKAGE: &str = "amoskys.v1.";

#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Envelopes; the payload's message where the topic's name tells it, else what the first envelope says.
    Envelopes { schema: Option<&'static str> },
    /// One message per record.
    Messages(MessageDescriptor),
    /// Anything.
    Bytes,
}

impl Content {
    /// By the message the user named (`Alert` or `amoskys.v1.Alert`), else by the topic.
    pub fn of(topic: &str, message: Option<&str>, pool: &DescriptorPool) -> Result<Self, Misuse> {
        if let Some(name) = message {
            return Self::named(name, pool);
        }
        let message = match plain_name(topic) {
            "amoskys.telemetry.process.v1" => {
                return Ok(Self::Envelopes { schema: Some("amoskys.v1.ProcessBatch") });
            }
            "amoskys.telemetry.syscall.v1" => {
                return Ok(Self::Envelopes { schema: Some("amoskys.v1.SyscallBatch") });
            }
            "amoskys.telemetry.syscall_activity.v1" => {
                return Ok(Self::Envelopes { schema: Some("amoskys.v1.SyscallActivityBatch") });
            }
            "amoskys.agent.status.v1" => return Ok(Self::Envelopes { schema: Some("amoskys.v1.AgentStatusBatch") }),
            plain if plain.starts_with("amoskys.telemetry.") => return Ok(Self::Envelopes { schema: None }),
            "amoskys.alerts.v1" => "Alert",
            "amoskys.deadletter.v1" => "DeadLetter",
            plain if plain.starts_with("amoskys.features.") => "FeatureRow",
            _ => return Ok(Self::Bytes),
        };
        Self::named(message, pool)
    }

    fn named(name: &str, pool: &DescriptorPool) -> Result<Self, Misuse> {
        let own = |name: &str| pool.get_message_by_name(&format!("{PACKAGE}{name}"));
        let Some(message) = pool.get_message_by_name(name).or_else(|| own(name)) else {
            return Err(Misuse(format!("there is no message `{name}`; {}", known(pool))));
        };
        if message.full_name() == "amoskys.v1.Envelope" {
            return Ok(Self::Envelopes { schema: None });
        }
        Ok(Self::Messages(message))
    }
}

/// The messages of this program's contract, for an error.
fn known(pool: &DescriptorPool) -> String {
    let names =
        pool.all_messages().filter(|message| message.full_name().starts_with(PACKAGE) && !message.is_map_entry());
    let names: Vec<String> = names.map(|message| message.name().to_owned()).collect();
    format!("known are {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topics::{own::PANES, own_topics};

    #[test]
    fn every_topic_of_ours_is_known_by_name() {
        let pool = amoskys_proto::pool().expect("the embedded set");
        for topic in own_topics(1) {
            let content = Content::of(&topic.name, None, &pool).expect("a known message");
            match content {
                Content::Envelopes { schema } => {
                    let schema = schema.expect("the payload is known");
                    assert!(pool.get_message_by_name(schema).is_some(), "{schema}");
                }
                Content::Messages(_) => {}
                // Arrays, for processors alone.
                Content::Bytes if topic.name == PANES => {}
                Content::Bytes => panic!("{} is unknown", topic.name),
            }
        }
    }

    #[test]
    fn the_user_may_name_the_message() {
        let pool = amoskys_proto::pool().expect("the embedded set");
        let named = |name| Content::of("mine", Some(name), &pool);
        assert_eq!(named("Alert").expect("short"), named("amoskys.v1.Alert").expect("full"));
        assert_eq!(named("Envelope").expect("envelopes"), Content::Envelopes { schema: None });
        assert_eq!(Content::of("mine", None, &pool).expect("anything"), Content::Bytes);
        let refused = named("Alrt").expect_err("no such message").to_string();
        assert!(refused.contains("`Alrt`") && refused.contains("ProcessBatch"), "{refused}");
    }
}
