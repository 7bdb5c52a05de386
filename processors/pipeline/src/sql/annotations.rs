//! What the comments above an INSERT say of its rows: a detection's title, technique, false positives, next steps.

use amoskys_functions::fault::Fault;

const KEYS: [&str; 5] = ["title", "technique", "false_positives", "next_steps", "allow"];

/// The one word that a line has before a colon.
fn word_of(line: &str) -> Option<&str> {
    let (word, _) =
        line.split_once(": ").or_else(|| line.trim_end().split_once(':').filter(|(_, rest)| rest.is_empty()))?;
    let word = word.trim();
    let is_word = word.starts_with(|first: char| first.is_alphabetic())
        && word.chars().all(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '-'));
    is_word.then_some(word)
}

/// `T1059` or `T1059.004`.
fn is_technique(text: &str) -> bool {
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some(rest) = text.strip_prefix('T') else { return false };
    let (number, sub) = rest.split_once('.').map_or((rest, None), |(number, sub)| (number, Some(sub)));
    digits(number, 4) && sub.is_none_or(|sub| digits(sub, 3))
}

/// From the comments above a statement: `-- key: text`, continued on lines that start with two more spaces or have
/// no key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotations {
    pub title: Option<String>,
    pub technique: Option<String>,
    pub false_positives: Option<String>,
    pub next_steps: Option<String>,
    /// Names of warnings, apart by commas.
    pub allow: Option<String>,
}

impl Annotations {
    pub fn parse(comments: &[String]) -> Self {
        let mut annotations = Self::default();
        let mut last: Option<&'static str> = None;
        for line in comments {
            let keyed = line.split_once(':').and_then(|(key, text)| Some((Self::key(key.trim())?, text.trim())));
            let (key, text) = match (keyed, last) {
                (Some((key, text)), _) => (key, text),
                // A remark that has a word of its own before it is none of the last one's.
                (None, Some(key)) if word_of(line).is_none() => (key, line.trim()),
                (None, _) => {
                    last = None;
                    continue;
                }
            };
            last = Some(key);
            let field = annotations.field(key);
            match field {
                Some(before) => {
                    before.push(' ');
                    before.push_str(text);
                }
                None => *field = Some(text.to_owned()),
            }
        }
        annotations
    }

    /// Lines that begin with a word much like one that means something, and what is wrong with the techniques.
    pub fn faults(&self, comments: &[String]) -> Vec<Fault> {
        let mut faults = Vec::new();
        for line in comments {
            let Some(word) = word_of(line).filter(|word| Self::key(word).is_none()) else { continue };
            let folded = word.to_lowercase().replace('-', "_");
            let near = KEYS.iter().find(|known| strsim::damerau_levenshtein(&folded, known) <= 2);
            if let Some(near) = near {
                let fault = Fault::new(format!("`{word}:` is a comment, and says nothing of its alerts"));
                faults.push(fault.help(format!("did you mean `{near}:`?")));
            }
        }
        let techniques = self.technique.iter().flat_map(|text| text.split([',', ' '])).filter(|one| !one.is_empty());
        for technique in techniques.filter(|one| !is_technique(one)) {
            let fault = Fault::new(format!("`{technique}` is no ATT&CK technique"));
            faults.push(fault.help("write for example -- technique: T1059.004, T1105"));
        }
        faults
    }

    /// Names of warnings that are meant.
    pub fn allowed(&self) -> Vec<String> {
        let names = self.allow.iter().flat_map(|names| names.split(','));
        names.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
    }

    fn key(key: &str) -> Option<&'static str> {
        KEYS.into_iter().find(|known| *known == key)
    }

    fn field(&mut self, key: &str) -> &mut Option<String> {
        match key {
            "title" => &mut self.title,
            "technique" => &mut self.technique,
            "false_positives" => &mut self.false_positives,
            "next_steps" => &mut self.next_steps,
            _ => &mut self.allow,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_become_annotations() {
        let lines =
            ["what this is", "title: a title", "next_steps: look at it,", "then think", "technique: T1036, T1070.004"];
        let annotations = Annotations::parse(&lines.map(str::to_owned));
        assert_eq!(annotations.title.as_deref(), Some("a title"));
        assert_eq!(annotations.next_steps.as_deref(), Some("look at it, then think"));
        assert_eq!(annotations.technique.as_deref(), Some("T1036, T1070.004"));
        assert_eq!(annotations.false_positives, None);
        assert!(annotations.faults(&lines.map(str::to_owned)).is_empty());
    }

    #[test]
    fn remarks_are_not_the_alerts_and_words_that_are_nearly_known_are_told() {
        let lines = ["technique: T1, T1059", "note: of ours", "titel: x", "next-steps:", "See: elsewhere, as", "it is"];
        let lines = lines.map(str::to_owned);
        let annotations = Annotations::parse(&lines);
        assert_eq!(annotations, Annotations { technique: Some("T1, T1059".into()), ..Annotations::default() });
        let faults: Vec<String> = annotations.faults(&lines).iter().map(ToString::to_string).collect();
        assert_eq!(
            faults,
            [
                "`titel:` is a comment, and says nothing of its alerts; did you mean `title:`?",
                "`next-steps:` is a comment, and says nothing of its alerts; did you mean `next_steps:`?",
                "`T1` is no ATT&CK technique; write for example -- technique: T1059.004, T1105",
            ]
        );
    }
}
