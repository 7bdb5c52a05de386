//! Which calls are wanted, as an operator writes it, and the rules of the kernel's programs that come of it.
//!
//! Words are taken one after the other: `usual`, `all`, or the name of a call; behind it `:success` or `:failure` for calls that
//! end so, and `/N` for one call of N; before it `-` for calls that are left out again. Deliberately not here: whose calls.

use super::table::{Field, MAP_ANONYMOUS, PROT_EXEC, PROT_WRITE, SYSCALLS, Syscall};
use amoskys_ebpf::{Results, Rule};
use std::{fmt, num::NonZeroU32};

/// One call, and which of its calls.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    pub call: &'static Syscall,
    pub results: Results,
    /// One call of so many.
    pub one_of: NonZeroU32,
}

impl Choice {
    /// Each time it is made.
    pub fn every(call: &'static Syscall) -> Self {
        Self { call, results: Results::Any, one_of: NonZeroU32::MIN }
    }

    /// All that there are.
    pub fn all() -> Vec<Self> {
        SYSCALLS.iter().map(Self::every).collect()
    }

    /// Those that are rare on a quiet host.
    pub fn usual() -> Vec<Self> {
        SYSCALLS.iter().filter(|call| call.is_usual).map(Self::every).collect()
    }
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} 1/{}", self.call.name, self.results, self.one_of)
    }
}

/// The calls that words choose; of a call that is chosen twice the last counts.
///
/// # Errors
/// What is wrong with each word, in words that follow it.
pub fn choose(words: &[String]) -> Result<Vec<Choice>, String> {
    let (mut chosen, mut wrong): (Vec<Choice>, Vec<String>) = (Vec::new(), Vec::new());
    for word in words {
        match Word::parse(word) {
            Ok(Word { calls, is_left_out, results, one_of }) => {
                chosen.retain(|choice| !calls.contains(&choice.call));
                if !is_left_out {
                    chosen.extend(calls.into_iter().map(|call| Choice { call, results, one_of }));
                }
            }
            Err(why) => wrong.push(format!("`{word}` {why}")),
        }
    }
    if wrong.is_empty() { Ok(chosen) } else { Err(wrong.join("; ")) }
}

struct Word {
    calls: Vec<&'static Syscall>,
    is_left_out: bool,
    results: Results,
    one_of: NonZeroU32,
}

impl Word {
    fn parse(word: &str) -> Result<Self, String> {
        let (is_left_out, rest) = word.strip_prefix('-').map_or((false, word), |rest| (true, rest));
        let (rest, one_of) = match rest.split_once('/') {
            Some((rest, number)) => {
                let number =
                    number.parse().map_err(|_| "takes one of a number from 1, as in `openat/100`".to_owned())?;
                (rest, Some(number))
            }
            None => (rest, None),
        };
        let (name, results) = match rest.split_once(':') {
            Some((name, "success")) => (name, Some(Results::Successes)),
            Some((name, "failure")) => (name, Some(Results::Failures)),
            Some(_) => return Err("takes `:success` or `:failure`".to_owned()),
            None => (rest, None),
        };
        if is_left_out && (one_of.is_some() || results.is_some()) {
            return Err("is left out whole: write the name alone behind `-`".to_owned());
        }
        let is_meant = |call: &&Syscall| match name {
            "all" => true,
            "usual" => call.is_usual,
            name => call.name == name,
        };
        let calls: Vec<&Syscall> = SYSCALLS.iter().filter(is_meant).collect();
        if calls.is_empty() {
            return Err("is no call that is decoded; write `usual`, `all` or a name of docs/syscalls.md".to_owned());
        }
        let (results, one_of) = (results.unwrap_or_default(), one_of.unwrap_or(NonZeroU32::MIN));
        Ok(Self { calls, is_left_out, results, one_of })
    }
}

/// What the kernel's programs are to tell of these calls; those that this machine has not are left out. Calls on memory
/// are told where it becomes executable.
pub fn rules<'a>(choices: impl IntoIterator<Item = &'a Choice>) -> Vec<Rule> {
    let rule = |choice: &Choice| {
        let number = choice.call.number()?;
        let mut rule = Rule {
            number,
            name: choice.call.name,
            results: choice.results,
            one_of: choice.one_of.get(),
            directory: choice.call.directory(),
            ..Rule::default()
        };
        for field in choice.call.fields {
            match *field {
                Field::Path(argument) => rule.first_string = Some(argument),
                Field::OtherPath(argument) => rule.second_string = Some(argument),
                Field::Argv => rule.is_exec = true,
                Field::Address(argument, bytes) | Field::Opening(argument, bytes) => {
                    rule.address = Some((argument, bytes));
                }
                Field::Peer => rule.is_of_peer = true,
                Field::MemoryBefore(start, bytes) => rule.memory = Some((start, bytes)),
                _ => {}
            }
        }
        rule.mask = choice.call.protection().map(|place| (place, PROT_EXEC));
        rule.mask_either = choice.call.mapping_flags().map(|place| (PROT_WRITE, (place, MAP_ANONYMOUS)));
        Some(rule)
    };
    choices.into_iter().filter_map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(words: &[&str]) -> Result<Vec<(&'static str, Results, u32)>, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let of = |choice: &Choice| (choice.call.name, choice.results, choice.one_of.get());
        choose(&words).map(|choices| choices.iter().map(of).collect())
    }

    #[test]
    fn words_add_leave_out_and_say_which() {
        assert_eq!(chosen(&[]), Ok(vec![]));
        assert_eq!(chosen(&["all"]).map(|all| all.len()), Ok(SYSCALLS.len()));
        let usual = chosen(&["usual"]).expect("known");
        assert!(usual.iter().any(|(name, ..)| *name == "execve") && usual.iter().all(|(name, ..)| *name != "openat"));
        assert_eq!(choose(&["usual".to_owned()]).expect("known"), Choice::usual());
        let but =
            chosen(&["usual", "-execve", "openat:failure", "sendto/100", "kill:success/2", "kill"]).expect("known");
        assert_eq!(but.len(), usual.len() - 1 + 2);
        assert!(but.iter().all(|(name, ..)| *name != "execve"));
        for choice in [("openat", Results::Failures, 1), ("sendto", Results::Any, 100), ("kill", Results::Any, 1)] {
            assert!(but.contains(&choice), "{choice:?}: {but:?}");
        }
    }

    #[test]
    fn every_wrong_word_is_told() {
        let error = chosen(&["opnat", "kill:never", "kill/0", "kill/x", "-kill/2", "execve"]).expect_err("wrong");
        let told: Vec<&str> = error.split("; `").collect();
        assert_eq!(told.len(), 5, "{error}");
        assert!(error.starts_with("`opnat` is no call that is decoded; write `usual`"), "{error}");
    }
}
