//! A real broker of either kind, with a forwarder before it that can be cut.

use crate::common::proxy::Proxy;
use amoskys_bus::testing::{KafkaBroker, KafkaOptions, NatsServer};

pub struct Cluster {
    broker: Broker,
    pub proxy: Proxy,
}

enum Broker {
    Kafka(KafkaBroker),
    Nats(NatsServer),
}

impl Cluster {
    pub fn kafka() -> Self {
        let proxy = Proxy::listen();
        let options = KafkaOptions { proxied: Some(proxy.port()), ..KafkaOptions::default() };
        let broker = KafkaBroker::start_with(options);
        proxy.forward_to(host_and_port(&broker.proxied_address().to_string()));
        Self { broker: Broker::Kafka(broker), proxy }
    }

    pub fn nats() -> Self {
        let (proxy, server) = (Proxy::listen(), NatsServer::start());
        proxy.forward_to(host_and_port(&server.address().to_string()));
        Self { broker: Broker::Nats(server), proxy }
    }

    /// As `--bus` takes it.
    pub fn address(&self) -> String {
        match &self.broker {
            Broker::Kafka(broker) => broker.address().to_string(),
            Broker::Nats(server) => server.address().to_string(),
        }
    }

    /// Through the forwarder.
    pub fn proxied(&self) -> String {
        let address = self.address();
        let scheme = address.split("://").next().unwrap_or_default();
        format!("{scheme}://127.0.0.1:{}", self.proxy.port())
    }

    pub fn restart(&mut self, by_kill: bool) {
        match (&mut self.broker, by_kill) {
            (Broker::Kafka(broker), true) => broker.kill(),
            (Broker::Kafka(broker), false) => broker.stop(),
            (Broker::Nats(server), true) => server.kill(),
            (Broker::Nats(server), false) => server.stop(),
        }
        match &mut self.broker {
            Broker::Kafka(broker) => broker.restart(),
            Broker::Nats(server) => server.restart(),
        }
    }

    pub fn freeze(&self) {
        match &self.broker {
            Broker::Kafka(broker) => broker.freeze(),
            Broker::Nats(server) => server.freeze(),
        }
    }

    pub fn thaw(&self) {
        match &self.broker {
            Broker::Kafka(broker) => broker.thaw(),
            Broker::Nats(server) => server.thaw(),
        }
    }
}

fn host_and_port(address: &str) -> &str {
    address.split("://").last().unwrap_or_default()
}
