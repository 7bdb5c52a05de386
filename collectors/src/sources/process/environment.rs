//! Environment variables that the operator named, from `/proc/PID/environ`.
//!
//! Pure. Nothing that is not named leaves this file. Limits: [`ENVIRON_BYTES_MAX`] of an environment are looked at, values
//! are cut at [`VALUE_BYTES_MAX`]; of a name that comes twice the first counts, as getenv has it.

use crate::masks::Masks;
use std::collections::BTreeMap;

pub const ENVIRON_BYTES_MAX: usize = 256 << 10;
pub const VALUE_BYTES_MAX: usize = 1_024;
/// Names that may be asked for.
pub const NAMES_MAX: usize = 64;
pub const NAME_BYTES_MAX: usize = 128;

/// What is wrong with a list of names, in words that follow the key's name.
pub fn judge(names: &[String]) -> Result<(), String> {
    if names.len() > NAMES_MAX {
        return Err(format!("has more than {NAMES_MAX} names"));
    }
    let is_name = |name: &&String| !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.contains(['=', '\0']);
    let wrong = names.iter().find(|name| !is_name(name));
    wrong.map_or(Ok(()), |name| Err(format!("holds `{name}`, which is no name of a variable")))
}

/// Those of `names` that are there, masked; and whether anything was.
pub fn named(environ: &[u8], names: &[String], masks: &Masks) -> (BTreeMap<String, String>, bool) {
    let (mut found, mut any) = (BTreeMap::new(), false);
    for variable in environ.split(|byte| *byte == 0) {
        let Some(equals) = variable.iter().position(|byte| *byte == b'=') else { continue };
        let name = names.iter().find(|wanted| wanted.as_bytes() == &variable[..equals]);
        let Some(name) = name.filter(|name| !found.contains_key(*name)) else { continue };
        // As an option, so that the whole value is masked where its name says that it is a secret.
        let mut option = [format!("--{name}={}", String::from_utf8_lossy(&variable[equals + 1..]))];
        any |= masks.arguments(&mut option);
        let mut value = option[0].get(name.len() + 3..).unwrap_or_default().to_owned();
        value.truncate(value.floor_char_boundary(VALUE_BYTES_MAX));
        found.insert(name.clone(), value);
    }
    (found, any)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(of: &[&str]) -> Vec<String> {
        of.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn only_what_is_named_comes_out() {
        let environ = b"SECRET=1\0LD_PRELOAD=/x.so\0LD_PRELOAD=/y.so\0LD_PRELOADED=2\0A=b=c\0odd\0=x\0";
        let (found, masked) = named(environ, &names(&["LD_PRELOAD", "A", "HOME"]), &Masks::usual());
        let pairs: Vec<(&str, &str)> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!((pairs, masked), (vec![("A", "b=c"), ("LD_PRELOAD", "/x.so")], false));
        assert_eq!(named(environ, &[], &Masks::usual()), (BTreeMap::new(), false));
        let long = format!("A={}", "ä".repeat(VALUE_BYTES_MAX));
        assert_eq!(named(long.as_bytes(), &names(&["A"]), &Masks::usual()).0["A"].len(), VALUE_BYTES_MAX);
    }

    #[test]
    fn secrets_in_what_is_named_are_masked() {
        let environ = b"DB_PASSWORD=two words\0HTTP_PROXY=http://a:b@proxy:3128\0";
        let (found, masked) = named(environ, &names(&["DB_PASSWORD", "HTTP_PROXY"]), &Masks::usual());
        assert_eq!((found["DB_PASSWORD"].as_str(), found["HTTP_PROXY"].as_str()), ("***", "http://a:***@proxy:3128"));
        assert!(masked);
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        assert_eq!(judge(&names(&["LD_PRELOAD", "a.b"])), Ok(()));
        for wrong in ["", "A=b", "a\0"] {
            assert!(judge(&names(&["A", wrong])).is_err(), "{wrong:?}");
        }
        assert!(judge(&vec!["A".to_owned(); NAMES_MAX + 1]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_give_only_names_that_were_asked_for(bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(b'='), Just(b'A'), any::<u8>()], 0..100)) {
            let wanted = names(&["A", "AA"]);
            prop_assert!(named(&bytes, &wanted, &Masks::usual()).0.keys().all(|name| wanted.contains(name)));
        }
    }
}
