//! A socket's address as the kernel has it, in words.

use std::net::{Ipv4Addr, Ipv6Addr};

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// Family, address and port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Address {
    pub family: String,
    pub address: String,
    pub port: u32,
}

/// Of the bytes of a `sockaddr`; what is cut off is absent.
pub fn parse(bytes: &[u8]) -> Option<Address> {
    let family = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
    let port = || Some(u32::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)));
    Some(match family {
        AF_INET => {
            let octets: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            Address { family: "inet".into(), address: Ipv4Addr::from(octets).to_string(), port: port()? }
        }
        AF_INET6 => {
            let octets: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            Address { family: "inet6".into(), address: Ipv6Addr::from(octets).to_string(), port: port()? }
        }
        AF_UNIX => Address { family: "unix".into(), address: local(&bytes[2..]), port: 0 },
        other => Address { family: other.to_string(), ..Address::default() },
    })
}

/// A path up to its zero; of an abstract name, which begins with one, all that there is.
fn local(path: &[u8]) -> String {
    let (sign, name) = match path {
        [0, name @ ..] => ("@", name),
        path => ("", path.split(|byte| *byte == 0).next().unwrap_or_default()),
    };
    format!("{sign}{}", String::from_utf8_lossy(name).trim_end_matches('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_each_family_and_what_is_cut() {
        let of = |bytes: &[u8]| parse(bytes).map(|of| (of.family, of.address, of.port));
        let words = |family: &str, address: &str, port: u32| Some((family.to_owned(), address.to_owned(), port));
        assert_eq!(of(&[2, 0, 0x12, 0x67, 127, 0, 0, 1, 0, 0]), words("inet", "127.0.0.1", 4711));
        let mut six = vec![10, 0, 0, 53, 0, 0, 0, 0];
        six.extend(Ipv6Addr::LOCALHOST.octets());
        assert_eq!(of(&six), words("inet6", "::1", 53));
        assert_eq!(of(b"\x01\0/run/x\0rest"), words("unix", "/run/x", 0));
        assert_eq!(of(b"\x01\0\0name\0\0"), words("unix", "@name", 0));
        assert_eq!(of(b"\x01\0"), words("unix", "", 0));
        assert_eq!(of(&[16, 0, 1, 2, 3]), words("16", "", 0));
        assert_eq!((of(&[2]), of(&[2, 0, 1]), of(&[10, 0, 0, 53, 1])), (None, None, None));
    }
}
