//! `sql explain`: what is decoded, where queries are cut, which views share panes, what is sent, what is read again.

use super::Planning;
use crate::{cli::DONE, print};
use amoskys_pipeline::sql::{
    InsertOutline, Outline, PanesFrom, PanesOutline, Recovery, StreamOutline, ViewOutline, Wanted,
};
use anyhow::Result;
use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use std::{
    fmt::{self, Write},
    path::PathBuf,
    time::Duration,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Each stream is told with what is computed from it: which columns are decoded; for each set of panes what happens to rows
before (last step first), the keys, the aggregates, the views that share them and what a key takes in a pane, measured;
then what becomes of closed windows. Groups that do not lie within partitions of their stream are sent to a topic of
panes, which is told as a stream. `recovery` is what is read again after a restart.

Examples:
  amoskys sql explain sql                        everything
  amoskys sql explain sql --view process_activity
  amoskys sql explain sql --format mermaid       a picture, for Markdown")]
pub struct Command {
    /// Folders and files of SQL.
    #[arg(required = true, value_name = "SQL_DIR")]
    sql: Vec<PathBuf>,
    /// A view, or a table that is inserted into; may be given several times. All INSERTs when left out.
    #[arg(long, value_name = "NAME")]
    view: Vec<String>,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    #[arg(long, default_value = "models", value_name = "DIR")]
    models: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    /// The flow as a Mermaid flowchart.
    Mermaid,
    Json,
}

pub fn explain(command: Command) -> Result<u8> {
    let wanted = if command.view.is_empty() { Wanted::Everything } else { Wanted::Rows(command.view) };
    let outline = Outline::of(&Planning::new(&command.sql, &command.models, wanted).planned()?);
    match command.format {
        Format::Text => print::text(text(&outline)?)?,
        Format::Mermaid => print::text(mermaid(&outline)?)?,
        Format::Json => print::line(serde_json::to_string_pretty(&outline)?)?,
    }
    Ok(DONE)
}

fn duration(time_ns: i64) -> impl fmt::Display {
    humantime::format_duration(Duration::from_nanos(time_ns.unsigned_abs()))
}

fn text(outline: &Outline) -> Result<String, fmt::Error> {
    let mut out = String::new();
    for stream in &outline.streams {
        head(&mut out, stream)?;
        for (number, panes) in (1..).zip(&stream.panes) {
            writeln!(out, "\n  panes {number}")?;
            of_panes(&mut out, panes)?;
        }
        for insert in &stream.inserts {
            of_insert(&mut out, insert)?;
        }
        out.push('\n');
    }
    for file in &outline.files {
        let locations = file.locations.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        writeln!(out, "file {}: {}, read again when it changes", file.name, locations.join(", "))?;
    }
    Ok(out)
}

fn head(out: &mut String, stream: &StreamOutline) -> fmt::Result {
    if stream.format == "PANES" {
        let from = stream.sent_by.join(", ");
        writeln!(
            out,
            "shuffle {}\n  sent by     the partitions of {from}: groups that do not lie within one",
            stream.topic
        )?;
    } else {
        writeln!(out, "stream {}\n  topic       {}, {}", stream.name, stream.topic, stream.format)?;
        if let Some(time) = &stream.event_time {
            let idle = stream.idle_ns.map_or_else(String::new, |idle| format!(", idle after {}", duration(idle)));
            writeln!(out, "  event time  {time}, up to {} late{idle}", duration(stream.lateness_ns))?;
        }
        let (decoded, all) = (stream.decoded.len(), stream.columns_total);
        writeln!(out, "  decoded     {decoded} columns, of {all} in the record: {}", stream.decoded.join(", "))?;
    }
    match &stream.recovery {
        Recovery::Nothing => writeln!(out, "  recovery    nothing is kept: on from the next record"),
        Recovery::Records { windows_ns } => {
            let windows = duration(*windows_ns);
            writeln!(out, "  recovery    records are read again from the first that an open window needs ({windows})")
        }
        Recovery::Panes { windows_ns, replay_max_ns } => {
            let (windows, most) = (duration(*windows_ns), duration(*replay_max_ns));
            writeln!(
                out,
                "  recovery    windows take {windows}, more than replay_max, {most}: panes are kept in a topic,"
            )?;
            writeln!(out, "              and records are read again from when that was done last")
        }
    }
}

fn of_panes(out: &mut String, panes: &PanesOutline) -> fmt::Result {
    match panes.source {
        PanesFrom::Stream => {}
        PanesFrom::Windows => {
            writeln!(out, "    over      windows of {}, as they close", names(&panes.over))?;
        }
        PanesFrom::Sent => writeln!(out, "    over      what was sent")?,
    }
    lines(out, "    below     ", &panes.below)?;
    writeln!(out, "    keys      {}", panes.keys.join(", "))?;
    writeln!(out, "    computes  {}", panes.aggregates.join(", "))?;
    for (index, view) in panes.views.iter().enumerate() {
        let label = if index == 0 { "views" } else { "" };
        let name = view.called();
        let (size, slide) = (duration(view.size_ns), duration(view.slide_ns));
        match view.session_max_ns.map(duration) {
            None => writeln!(out, "    {label:9} {name}: windows of {size}, every {slide}")?,
            Some(longest) => writeln!(out, "    {label:9} {name}: sessions with a gap of {size}, at most {longest}")?,
        }
    }
    writeln!(out, "    panes     {} in the longest window{}", panes.panes_per_window, bytes_per_key(panes))?;
    match &panes.sent_to {
        None => Ok(()),
        Some((topic, by)) if by.is_empty() => writeln!(out, "    sent to   one partition of {topic}"),
        Some((topic, by)) => writeln!(out, "    sent to   {topic}, by {}", by.join(", ")),
    }
}

fn bytes_per_key(panes: &PanesOutline) -> String {
    panes.bytes_per_key.map_or_else(String::new, |bytes| {
        format!(", about {} for a key in each that it is in", ByteSize(bytes as u64).display().iec())
    })
}

fn of_insert(out: &mut String, insert: &InsertOutline) -> fmt::Result {
    match &insert.topic {
        Some(topic) => writeln!(out, "\n  INSERT {} into {topic}", insert.name)?,
        None => writeln!(out, "\n  view {}", insert.name)?,
    }
    if insert.views.is_empty() {
        writeln!(out, "    reads     rows, one by one")?;
    } else {
        writeln!(out, "    reads     closed windows of {}", names(&insert.views))?;
    }
    if !insert.models.is_empty() {
        writeln!(out, "    models    {}", insert.models.join(", "))?;
    }
    lines(out, "    above     ", &insert.above)
}

fn names(views: &[ViewOutline]) -> String {
    views.iter().map(ViewOutline::called).collect::<Vec<_>>().join(", ")
}

/// `label` before the first, as much space before the others.
fn lines(out: &mut String, label: &str, lines: &[String]) -> fmt::Result {
    for (index, line) in lines.iter().enumerate() {
        let before = if index == 0 { label.to_owned() } else { " ".repeat(label.len()) };
        writeln!(out, "{before}{line}")?;
    }
    Ok(())
}

fn mermaid(outline: &Outline) -> Result<String, fmt::Error> {
    let mut out = "flowchart LR\n".to_owned();
    for (flow, stream) in outline.streams.iter().enumerate() {
        let name = if stream.format == "PANES" { "shuffle" } else { stream.name.as_str() };
        let mut words = vec![name.to_owned(), stream.topic.clone()];
        if stream.format != "PANES" {
            words.push(format!("decoded: {} of {} columns", stream.decoded.len(), stream.columns_total));
        }
        words.push(match &stream.recovery {
            Recovery::Nothing => "recovery: from the next record".to_owned(),
            Recovery::Records { windows_ns } => format!("recovery: the records of {}", duration(*windows_ns)),
            Recovery::Panes { .. } => "recovery: from panes in a topic".to_owned(),
        });
        node(&mut out, &format!("s{flow}"), "[(", &words, ")]")?;
    }
    let by_topic = |topic: &str| outline.streams.iter().position(|stream| stream.topic == topic);
    let mut sinks: Vec<&str> = Vec::new();
    for (flow, stream) in outline.streams.iter().enumerate() {
        for (index, panes) in stream.panes.iter().enumerate() {
            let id = format!("p{flow}_{index}");
            let keys = format!("by {}", panes.keys.join(", "));
            let held = format!("{} in the longest window{}", panes.panes_per_window, bytes_per_key(panes));
            let words = ["panes".to_owned(), keys, panes.aggregates.join(", "), held];
            node(&mut out, &id, "[[", &words, "]]")?;
            if panes.source == PanesFrom::Windows {
                for view in &panes.over {
                    writeln!(out, "  {} --> {id}", id_of_view(flow, view))?;
                }
            } else {
                writeln!(out, "  s{flow} --> {id}")?;
            }
            if let Some((to, by)) = panes.sent_to.as_ref().and_then(|(topic, by)| Some((by_topic(topic)?, by))) {
                let label = if by.is_empty() { "to one partition".to_owned() } else { format!("by {}", by.join(", ")) };
                writeln!(out, "  {id} -- \"{}\" --> s{to}", quoted(&label))?;
                continue;
            }
            for view in &panes.views {
                let hop = match view.session_max_ns {
                    None => format!("{} every {}", duration(view.size_ns), duration(view.slide_ns)),
                    Some(max_ns) => format!("sessions, gap {}, at most {}", duration(view.size_ns), duration(max_ns)),
                };
                let id_of_view = id_of_view(flow, view);
                node(&mut out, &id_of_view, "(", &[view.called().to_owned(), hop], ")")?;
                writeln!(out, "  {id} --> {id_of_view}")?;
            }
        }
        for (index, insert) in stream.inserts.iter().enumerate() {
            let id = format!("i{flow}_{index}");
            let models = insert.models.iter().map(|model| format!("model {model}"));
            let words: Vec<String> = std::iter::once(insert.name.clone()).chain(models).collect();
            node(&mut out, &id, "{{", &words, "}}")?;
            if insert.views.is_empty() {
                writeln!(out, "  s{flow} --> {id}")?;
            }
            for view in &insert.views {
                writeln!(out, "  {} --> {id}", id_of_view(flow, view))?;
            }
            if let Some(topic) = &insert.topic {
                let sink = sinks.iter().position(|known| known == topic).unwrap_or_else(|| {
                    sinks.push(topic);
                    sinks.len() - 1
                });
                writeln!(out, "  {id} --> t{sink}")?;
            }
        }
    }
    for (index, topic) in sinks.iter().enumerate() {
        node(&mut out, &format!("t{index}"), "[(", &[(*topic).to_owned()], ")]")?;
    }
    Ok(out)
}

fn id_of_view(flow: usize, view: &ViewOutline) -> String {
    format!("v{flow}_{}", view.index)
}

fn node(out: &mut String, id: &str, open: &str, lines: &[String], close: &str) -> fmt::Result {
    let lines: Vec<String> = lines.iter().map(|line| quoted(line)).collect();
    writeln!(out, "  {id}{open}\"{}\"{close}", lines.join("<br/>"))
}

/// Text that means nothing to Mermaid or to the HTML that it makes.
fn quoted(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "#quot;")
}
