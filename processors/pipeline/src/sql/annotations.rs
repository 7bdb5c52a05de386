//! What the comments above an INSERT say of its rows: a detection's title, technique, false positives, next steps.

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
                (None, Some(key)) => (key, line.trim()),
                (None, None) => continue,
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

    /// Names of warnings that are meant.
    pub fn allowed(&self) -> Vec<String> {
        let names = self.allow.iter().flat_map(|names| names.split(','));
        names.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
    }

    fn key(key: &str) -> Option<&'static str> {
        ["title", "technique", "false_positives", "next_steps", "allow"].into_iter().find(|known| *known == key)
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
    }
}
