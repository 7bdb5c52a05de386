//! Which calls are wanted, and what is read of them.

/// Bytes of a rule in the kernel.
pub(crate) const RULE_BYTES: usize = 28;

/// One system call. Arguments are counted from 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rule {
    /// This machine's.
    pub number: u32,
    /// As the kernel's function for it is named: `openat`. Empty where it is not known; then it is seen at the tracepoints of all calls.
    pub name: &'static str,
    /// Arguments that point to text.
    pub first_string: Option<u8>,
    pub second_string: Option<u8>,
    /// What the first is a path from, where it is relative: told only then.
    pub directory: Option<Directory>,
    /// Replaces the program: its path and its arguments are read of the new one.
    pub is_exec: bool,
    /// Arguments that are an address and its length, or another thing of few bytes.
    pub address: Option<(u8, u8)>,
    /// The address is of whom the socket is connected to that the call returns.
    pub is_of_peer: bool,
    /// Arguments that are where memory begins and how many bytes it is: what it was before the call is told.
    pub memory: Option<(u8, u8)>,
    pub results: Results,
    /// An argument of which one of these bits must be set.
    pub mask: Option<(u8, u32)>,
    /// And of the same argument one of these bits, or of another argument one of those.
    pub mask_either: Option<(u32, (u8, u32))>,
    /// One call of so many; 0 and 1 are all.
    pub one_of: u32,
}

/// What a relative path is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directory {
    /// Where the thread works.
    Working,
    /// An argument's descriptor; where it is `AT_FDCWD`, as `Working`.
    Of(u8),
}

/// In the place of an argument.
const WORKING: u8 = 7;
const PEER: u8 = 7;

/// Calls by what they returned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Results {
    #[default]
    Any,
    Successes,
    Failures,
}

impl Rule {
    pub(crate) fn encode(&self) -> [u8; RULE_BYTES] {
        // 0 is none there.
        let place = |argument: Option<u8>| argument.map_or(0, |argument| argument + 1);
        let results = match self.results {
            Results::Any => 0,
            Results::Successes => 1,
            Results::Failures => 2,
        };
        let mut bytes = [0; RULE_BYTES];
        bytes[..8].copy_from_slice(&[
            1,
            place(self.first_string),
            place(self.second_string),
            u8::from(self.is_exec),
            if self.is_of_peer { PEER } else { place(self.address.map(|(address, _)| address)) },
            place(self.address.map(|(_, bytes)| bytes)),
            results,
            place(self.mask.map(|(argument, _)| argument)),
        ]);
        bytes[8..12].copy_from_slice(&self.one_of.to_ne_bytes());
        bytes[12..16].copy_from_slice(&self.mask.map_or(0, |(_, mask)| mask).to_ne_bytes());
        bytes[16] = place(self.memory.map(|(start, _)| start));
        bytes[17] = place(self.memory.map(|(_, bytes)| bytes));
        bytes[19] = match self.directory {
            None => 0,
            Some(Directory::Working) => WORKING,
            Some(Directory::Of(argument)) => place(Some(argument)),
        };
        if let Some((and_mask, (argument, or_mask))) = self.mask_either {
            bytes[18] = place(Some(argument));
            bytes[20..24].copy_from_slice(&and_mask.to_ne_bytes());
            bytes[24..].copy_from_slice(&or_mask.to_ne_bytes());
        }
        bytes
    }
}
