//! A page of Markdown as what a test does with it: files to write, commands to run, output to expect, links.
//!
//! Not a Markdown parser: fenced blocks, HTML comments on a line of their own, inline links and inline code, as the
//! pages here use them.

pub mod shell;

/// What a page says to do, in its order.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A block with a file's name after its language.
    File { name: String, text: String },
    /// A block of `sh`; `fails` when the page says so.
    Run { line: usize, text: String, fails: bool },
    /// A block of `text`: what the commands before it print, `…` for anything.
    Expect { line: usize, text: String },
    /// `<!-- wait: WHAT -->`
    Wait { what: String },
}

/// The steps of a page. A block of another kind is an error, so that nothing is left out unseen.
pub fn steps(page: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        if let Some(what) = line.strip_prefix("<!-- wait: ").and_then(|rest| rest.strip_suffix(" -->")) {
            steps.push(Step::Wait { what: what.to_owned() });
        } else if let Some(info) = line.strip_prefix("```") {
            let text: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            steps.push(block(info, index + 1, text.join("\n") + "\n"));
        }
    }
    steps
}

fn block(info: &str, line: usize, text: String) -> Step {
    match info.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["sh"] => Step::Run { line, text, fails: false },
        ["sh", "fails"] => Step::Run { line, text, fails: true },
        ["text"] => Step::Expect { line, text },
        [_, name] => Step::File { name: (*name).to_owned(), text },
        _ => panic!("line {line}: a block is `sh`, `text`, or a language and the name of a file, not `{info}`"),
    }
}

/// Whether the lines of `expected` are in `output`, in their order, other lines between them allowed. Returns the first
/// one that is not.
pub fn missing<'a>(expected: &'a str, output: &str) -> Option<&'a str> {
    let mut printed = output.lines();
    expected.lines().find(|wanted| !printed.by_ref().any(|line| fits(wanted, line)))
}

/// `…` stands for any text; runs of spaces are one.
fn fits(wanted: &str, line: &str) -> bool {
    let (wanted, line) = (single_spaced(wanted), single_spaced(line));
    let parts: Vec<&str> = wanted.split('…').collect();
    let [first, middle @ .., last] = parts.as_slice() else { return wanted == line };
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn single_spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Targets of `[text](target)` outside of blocks.
pub fn links(page: &str) -> Vec<&str> {
    let parts = prose(page).into_iter().flat_map(|line| line.split("](").skip(1));
    parts.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target).collect()
}

/// What stands between single backticks outside of blocks.
pub fn inline_code(page: &str) -> Vec<String> {
    let text = prose(page).join("\n");
    // A paragraph at a time, because code may go over the end of a line.
    text.split("\n\n").flat_map(|part| part.split('`').skip(1).step_by(2).map(single_spaced)).collect()
}

/// Lines outside of blocks.
fn prose(page: &str) -> Vec<&str> {
    let mut within_block = false;
    let is_prose = |line: &&str| {
        let fence = line.starts_with("```");
        within_block ^= fence;
        !within_block && !fence
    };
    page.lines().filter(is_prose).collect()
}

/// Every fenced block's text.
pub fn blocks(page: &str) -> Vec<&str> {
    page.split("\n```").skip(1).step_by(2).filter_map(|block| block.split_once('\n')).map(|(_, text)| text).collect()
}
