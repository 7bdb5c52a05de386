//! Functions of single rows: addresses, names, texts, and scores that are relative to what is usual.
//!
//! Deliberately not here: what needs a file or a network (who owns an address, where it is). Limits: an address or a name that is
//! none gives NULL, so that one bad value does not end a processor; what is wrong with a literal is told when the SQL is planned.

use crate::{
    fault::{Fault, refuse},
    types::sql_type,
    window::window_fields,
};
use arrow::datatypes::{Field, FieldRef};
use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray, StructArray},
    compute::cast,
    datatypes::{DataType, Float64Type, TimestampNanosecondType},
};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::{
        ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
};
use ipnet::IpNet;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};
use xxhash_rust::xxh3::xxh3_64;

/// What an argument has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Argument {
    Text,
    /// Networks apart by commas; checked when planned where it is a literal.
    Networks,
    Number,
    /// A window, as `hop`, `tumble` and `session` give it.
    Window,
}

/// All of them.
pub fn scalars() -> Vec<ScalarUDF> {
    use Argument::{Networks, Number, Text, Window};
    let of = |name, usage, arguments: &'static [Argument], gives, apply| {
        ScalarUDF::from(Function {
            name,
            usage,
            arguments,
            gives,
            apply,
            signature: Signature::variadic_any(Volatility::Immutable),
        })
    };
    vec![
        of(
            "cidr_contains",
            "cidr_contains('10.0.0.0/8, fd00::/8', address)",
            &[Networks, Text],
            DataType::Boolean,
            cidr_contains,
        ),
        of("ip_scope", "ip_scope(address)", &[Text], DataType::Utf8, ip_scope),
        of("registered_domain", "registered_domain(name)", &[Text], DataType::Utf8, registered_domain),
        of("entropy", "entropy(text)", &[Text], DataType::Float64, entropy),
        of("hash64", "hash64(text)", &[Text], DataType::Int64, hash64),
        of(
            "robust_zscore",
            "robust_zscore(x, median, mad)",
            &[Number, Number, Number],
            DataType::Float64,
            robust_zscore,
        ),
        of("rate", "rate(count, win)", &[Number, Window], DataType::Float64, rate),
    ]
}

#[derive(Debug)]
struct Function {
    name: &'static str,
    usage: &'static str,
    arguments: &'static [Argument],
    gives: DataType,
    /// Of arrays of one length and of the types that [`Argument::data_type`] says.
    apply: fn(&[ArrayRef]) -> Result<ArrayRef>,
    signature: Signature,
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Function {}

impl std::hash::Hash for Function {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl Argument {
    fn takes(self, data_type: &DataType) -> bool {
        match self {
            Self::Text | Self::Networks => data_type.is_string() || matches!(data_type, DataType::Null),
            Self::Number => data_type.is_numeric() || *data_type == DataType::Null,
            Self::Window => *data_type == DataType::Struct(window_fields()),
        }
    }

    fn data_type(self) -> Option<DataType> {
        match self {
            Self::Text | Self::Networks => Some(DataType::Utf8),
            Self::Number => Some(DataType::Float64),
            Self::Window => None,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Networks => "networks such as '10.0.0.0/8'",
            Self::Number => "a number",
            Self::Window => "a window of hop, tumble or session",
        }
    }
}

impl Function {
    fn fault(&self, message: String) -> Fault {
        Fault::new(message).help(format!("write {}", self.usage)).at(format!("{}(", self.name))
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.gives.clone())
    }

    fn return_field_from_args(&self, given: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let count = self.arguments.len();
        if given.arg_fields.len() != count {
            let words = if count == 1 { "1 argument".to_owned() } else { format!("{count} arguments") };
            return refuse(self.fault(format!("{} takes {words}", self.name)));
        }
        for (argument, field) in self.arguments.iter().zip(given.arg_fields) {
            if !argument.takes(field.data_type()) {
                let (wanted, found) = (argument.words(), sql_type(field.data_type()));
                return refuse(self.fault(format!("{} takes {wanted}, not {found}", self.name)));
            }
        }
        for (argument, value) in self.arguments.iter().zip(given.scalar_arguments) {
            if let (Argument::Networks, Some(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)))) =
                (argument, value)
                && let Err(part) = networks(text)
            {
                return refuse(self.fault(format!("`{part}` is no network such as 10.0.0.0/8")));
            }
        }
        Ok(Arc::new(Field::new(self.name, self.gives.clone(), true)))
    }

    fn invoke_with_args(&self, given: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_scalar = given.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let mut arrays = ColumnarValue::values_to_arrays(&given.args)?;
        for (array, argument) in arrays.iter_mut().zip(self.arguments) {
            if let Some(wanted) = argument.data_type().filter(|wanted| array.data_type() != wanted) {
                *array = cast(array, &wanted)?;
            }
        }
        let found = (self.apply)(&arrays)?;
        if is_scalar {
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&found, 0)?))
        } else {
            Ok(ColumnarValue::Array(found))
        }
    }
}

fn texts(array: &ArrayRef) -> &StringArray {
    array.as_string()
}

/// Networks that are apart by commas, or what is none.
fn networks(text: &str) -> Result<Vec<IpNet>, &str> {
    let parts = text.split(',').map(str::trim);
    let network = |part| match str::parse::<IpNet>(part) {
        Ok(network) => Ok(network),
        // An address is a network of one.
        Err(_) => part.parse::<IpAddr>().map(IpNet::from).map_err(|_| part),
    };
    parts.map(network).collect()
}

/// An IPv4 address that is written as IPv6 is the IPv4 address.
fn address(text: &str) -> Option<IpAddr> {
    text.trim().parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn cidr_contains(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let (lists, addresses) = (texts(&arrays[0]), texts(&arrays[1]));
    let mut known: HashMap<&str, Option<Vec<IpNet>>> = HashMap::new();
    let mut found = Vec::with_capacity(lists.len());
    for (list, text) in lists.iter().zip(addresses.iter()) {
        let pair = list.zip(text.and_then(address));
        found.push(pair.and_then(|(list, address)| {
            let networks = known.entry(list).or_insert_with(|| networks(list).ok()).as_ref()?;
            Some(networks.iter().any(|network| network.contains(&address)))
        }));
    }
    Ok(Arc::new(BooleanArray::from(found)))
}

fn ip_scope(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let scope = |text: Option<&str>| Some(scope(address(text?)?));
    Ok(Arc::new(texts(&arrays[0]).iter().map(scope).collect::<StringArray>()))
}

/// By the registries of special-purpose addresses (RFC 6890 and those after it), the most particular first.
fn scope(address: IpAddr) -> &'static str {
    let is_documentation_v6 = |of: &Ipv6Addr| of.segments()[..2] == [0x2001, 0xdb8];
    match address {
        of if of.is_unspecified() => "unspecified",
        of if of.is_loopback() => "loopback",
        of if of.is_multicast() => "multicast",
        IpAddr::V4(of) if of.is_broadcast() => "broadcast",
        IpAddr::V4(of) if of.is_link_local() => "link_local",
        IpAddr::V6(of) if of.is_unicast_link_local() => "link_local",
        IpAddr::V4(of) if of.is_private() => "private",
        // Carriers' own (RFC 6598).
        IpAddr::V4(of) if of.octets()[0] == 100 && of.octets()[1] & 0xc0 == 64 => "shared",
        IpAddr::V6(of) if of.is_unique_local() => "private",
        IpAddr::V4(of) if of.is_documentation() => "documentation",
        IpAddr::V6(of) if is_documentation_v6(&of) => "documentation",
        IpAddr::V4(of) if of.octets()[0] == 0 || of.octets()[0] >= 240 => "reserved",
        _ => "global",
    }
}

fn registered_domain(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let domain = |text: Option<&str>| {
        let name = text?.trim().trim_end_matches('.').to_ascii_lowercase();
        if address(&name).is_some() {
            return None;
        }
        psl::domain_str(&name).map(str::to_owned)
    };
    Ok(Arc::new(texts(&arrays[0]).iter().map(domain).collect::<StringArray>()))
}

/// Shannon's (1948), of the text's characters: bits for each.
fn entropy(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let entropy = |text: &str| {
        let mut counts: HashMap<char, u32> = HashMap::new();
        text.chars().for_each(|letter| *counts.entry(letter).or_default() += 1);
        let total = f64::from(counts.values().sum::<u32>());
        // In one order, so that the sum has the same bits wherever it is made.
        let mut counts: Vec<u32> = counts.into_values().collect();
        counts.sort_unstable();
        let bits = counts.iter().map(|count| f64::from(*count) / total).map(|share| -share * share.log2());
        bits.sum::<f64>().max(0.0)
    };
    Ok(Arc::new(texts(&arrays[0]).iter().map(|text| text.map(entropy)).collect::<Float64Array>()))
}

/// XXH3 of the text's bytes, the same everywhere.
fn hash64(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let hash = |text: &str| i64::from_ne_bytes(xxh3_64(text.as_bytes()).to_ne_bytes());
    Ok(Arc::new(texts(&arrays[0]).iter().map(|text| text.map(hash)).collect::<Int64Array>()))
}

/// Iglewicz and Hoaglin (1993): 0.6745 (x − median) / MAD; with a MAD of zero what is not the median is infinitely far.
fn robust_zscore(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let numbers: Vec<&Float64Array> = arrays.iter().map(|array| array.as_primitive::<Float64Type>()).collect();
    let score = |row: usize| {
        if numbers.iter().any(|numbers| numbers.is_null(row)) {
            return None;
        }
        let (x, median, mad) = (numbers[0].value(row), numbers[1].value(row), numbers[2].value(row));
        Some(if x == median { 0.0 } else { 0.6745 * (x - median) / mad.abs() })
    };
    Ok(Arc::new((0..numbers[0].len()).map(score).collect::<Float64Array>()))
}

/// For each second of the window.
fn rate(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let (counts, windows): (&Float64Array, &StructArray) = (arrays[0].as_primitive(), arrays[1].as_struct());
    let [starts, ends] = [0, 1].map(|bound| windows.column(bound).as_primitive::<TimestampNanosecondType>());
    let rate = |row: usize| {
        let is_there = counts.is_valid(row) && windows.is_valid(row);
        is_there.then(|| counts.value(row) / ((ends.value(row) - starts.value(row)) as f64 / 1e9))
    };
    Ok(Arc::new((0..counts.len()).map(rate).collect::<Float64Array>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    fn told(array: &ArrayRef) -> Vec<Option<String>> {
        texts(array).iter().map(|text| text.map(str::to_owned)).collect()
    }

    #[test]
    fn addresses_are_in_networks_or_not_and_what_is_none_is_null() {
        let rows = [
            ("10.0.0.0/8", "10.1.2.3", Some(true)),
            ("10.0.0.0/8", "11.1.2.3", Some(false)),
            ("10.0.0.0/8, fd00::/8 ,192.0.2.7", "fd12::1", Some(true)),
            ("192.0.2.7", "192.0.2.7", Some(true)),
            ("10.0.0.0/8", "::ffff:10.0.0.1", Some(true)),
            ("10.0.0.0/8", "::1", Some(false)),
            ("10.0.0.0/8", "not an address", None),
            ("nonsense", "10.0.0.1", None),
        ];
        let lists = column(&rows.map(|(list, ..)| Some(list)));
        let addresses = column(&rows.map(|(_, address, _)| Some(address)));
        let found = cidr_contains(&[lists, addresses]).expect("computes");
        assert_eq!(found.as_boolean().iter().collect::<Vec<_>>(), rows.map(|(.., expected)| expected));
        let null = cidr_contains(&[column(&[Some("::/0"), None]), column(&[None, Some("::1")])]).expect("computes");
        assert_eq!(null.null_count(), 2);
        assert_eq!(networks("10.0.0.0/8, 10.0.0.0/33"), Err("10.0.0.0/33"));
    }

    #[test]
    fn the_scope_of_an_address_is_the_registries() {
        for (text, expected) in [
            ("0.0.0.0", "unspecified"),
            ("::", "unspecified"),
            ("127.1.2.3", "loopback"),
            ("::1", "loopback"),
            ("10.0.0.1", "private"),
            ("172.31.0.1", "private"),
            ("172.32.0.1", "global"),
            ("192.168.7.7", "private"),
            ("fd00::1", "private"),
            ("::ffff:192.168.0.1", "private"),
            ("100.64.0.1", "shared"),
            ("100.128.0.1", "global"),
            ("169.254.1.1", "link_local"),
            ("fe80::1", "link_local"),
            ("224.0.0.1", "multicast"),
            ("ff02::1", "multicast"),
            ("255.255.255.255", "broadcast"),
            ("240.0.0.1", "reserved"),
            ("198.51.100.1", "documentation"),
            ("2001:db8::1", "documentation"),
            ("8.8.8.8", "global"),
            ("2606:4700::1111", "global"),
        ] {
            assert_eq!(
                told(&ip_scope(&[column(&[Some(text)])]).expect("computes")),
                [Some(expected.to_owned())],
                "{text}"
            );
        }
        assert_eq!(told(&ip_scope(&[column(&[Some("10.0.0"), None])]).expect("computes")), [None, None]);
    }

    #[test]
    fn a_registered_domain_is_one_label_below_a_public_suffix() {
        for (name, expected) in [
            ("www.example.com", Some("example.com")),
            ("a.b.example.co.uk.", Some("example.co.uk")),
            ("WWW.Example.COM", Some("example.com")),
            ("example.com", Some("example.com")),
            ("foo.github.io", Some("foo.github.io")),
            ("com", None),
            ("co.uk", None),
            ("192.0.2.7", None),
            ("", None),
        ] {
            let found = registered_domain(&[column(&[Some(name)])]).expect("computes");
            assert_eq!(told(&found), [expected.map(str::to_owned)], "{name}");
        }
    }

    #[test]
    fn entropy_is_that_of_the_letters() {
        let of =
            |text: &str| entropy(&[column(&[Some(text)])]).expect("computes").as_primitive::<Float64Type>().value(0);
        assert_eq!([of(""), of("aaaa"), of("abab"), of("abcd")], [0.0, 0.0, 1.0, 2.0]);
        assert!((of("éé12") - 1.5).abs() < 1e-12);
        assert!(of("kq3v9z7x1m") > 3.3 && of("mississippi") < 2.0);
    }

    #[test]
    fn hashes_are_the_same_everywhere() {
        let of = |text: &str| {
            hash64(&[column(&[Some(text)])]).expect("computes").as_primitive::<arrow::datatypes::Int64Type>().value(0)
        };
        // XXH3's own test value of no bytes.
        assert_eq!(of(""), 0x2d06_8005_38d3_94c2);
        assert_ne!(of("a"), of("b"));
    }

    #[test]
    fn scores_and_rates_are_relative_to_what_is_usual() {
        let numbers = |values: &[f64]| -> ArrayRef { Arc::new(Float64Array::from(values.to_vec())) };
        let scores = robust_zscore(&[
            numbers(&[5.0, 12.0, 5.0, 6.0, 4.0]),
            numbers(&[5.0; 5]),
            numbers(&[2.0, 2.0, 0.0, 0.0, 0.0]),
        ]);
        let scores = scores.expect("computes");
        let expected = [0.0, 0.6745 * 3.5, 0.0, f64::INFINITY, f64::NEG_INFINITY];
        assert_eq!(scores.as_primitive::<Float64Type>().values().to_vec(), expected);
        let time =
            |times: &[i64]| -> ArrayRef { Arc::new(arrow::array::TimestampNanosecondArray::from(times.to_vec())) };
        let windows =
            StructArray::new(window_fields(), vec![time(&[0, 0]), time(&[10_000_000_000, 500_000_000])], None);
        let rates = rate(&[numbers(&[30.0, 1.0]), Arc::new(windows)]).expect("computes");
        assert_eq!(rates.as_primitive::<Float64Type>().values().to_vec(), [3.0, 2.0]);
    }
}
