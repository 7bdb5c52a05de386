//! A running demo painted on a terminal: a function of the snapshot and the size. No IO.
//!
//! Above: phase, rate of events, numbers; in the middle partitions and the entities with the highest scores; below the
//! alerts, and why the last was raised where there is room. Small terminals get less, never a panic.

use super::{PartitionState, SeenAlert, Snapshot};
use crate::topics::{
    alert::describe,
    text::{time_of_ms, visible},
};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Cell, Paragraph, Row, Sparkline, Table},
};

const RATE_HEIGHT: u16 = 7;
const TABLES_HEIGHT_MAX: u16 = 9;
/// Border, heading and one row.
const TABLES_HEIGHT_MIN: u16 = 4;
const ALERTS_HEIGHT_MIN: u16 = 5;
/// Room for a block of the usual length.
const WHY_HEIGHT: u16 = 20;

/// Paints the whole frame.
pub fn draw(frame: &mut Frame<'_>, now: &Snapshot) {
    let rows = now.partitions.len().max(now.entities.len());
    let tables = u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(3).clamp(TABLES_HEIGHT_MIN, TABLES_HEIGHT_MAX);
    let [head, rate, middle, alerts, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(RATE_HEIGHT),
        Constraint::Length(tables),
        Constraint::Min(ALERTS_HEIGHT_MIN),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(heading(now), head);
    let [left, right] = Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).areas(rate);
    draw_rate(frame, now, left);
    draw_numbers(frame, now, right);
    let [left, right] = Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).areas(middle);
    draw_partitions(frame, now, left);
    draw_entities(frame, now, right);
    draw_alerts(frame, now, alerts);
    let note = now.notes.newest().next().map(|note| visible(note)).unwrap_or_default();
    frame.render_widget(Line::from(vec![Span::styled(" q ends it ", dim()), Span::raw(note)]), foot);
}

fn heading(now: &Snapshot) -> Line<'static> {
    let left = now.phase_left.map(|left| format!(", {} s left", left.as_secs_f64().ceil())).unwrap_or_default();
    Line::from(vec![
        Span::styled(" amoskys demo ", bold()),
        Span::styled(format!(" {}{left} ", now.phase.title()), bold().bg(Color::Blue).fg(Color::White)),
        Span::raw(format!("  {} s on {}", now.elapsed.as_secs(), visible(&now.bus))),
    ])
}

fn draw_rate(frame: &mut Frame<'_>, now: &Snapshot, area: Rect) {
    let last = now.events_per_second.last().copied().unwrap_or(0);
    let block = Block::bordered().title(format!(" events per second: {last} "));
    // The newest seconds, one a column.
    let width = usize::from(block.inner(area).width);
    let seconds = &now.events_per_second[now.events_per_second.len().saturating_sub(width)..];
    let line = Sparkline::default().block(block).data(seconds.iter().copied()).style(Style::new().fg(Color::Cyan));
    frame.render_widget(line, area);
}

fn draw_numbers(frame: &mut Frame<'_>, now: &Snapshot, area: Rect) {
    let row = |name: &'static str, number: u64, bad: bool| {
        let style = if bad && number > 0 { Style::new().fg(Color::Yellow) } else { Style::new() };
        Row::new([Cell::from(name), Cell::from(format!("{number:>12}")).style(style)])
    };
    let rows = [
        row("events read", now.events_read, false),
        row("dropped", now.events_dropped, true),
        row("late", now.rows_late, true),
        row("windows closed", now.windows_closed, false),
        row("alerts", now.alerts.total(), false),
    ];
    let table = Table::new(rows, [Constraint::Length(14), Constraint::Fill(1)]);
    frame.render_widget(table.block(Block::bordered().title(" so far ")), area);
}

fn draw_partitions(frame: &mut Frame<'_>, now: &Snapshot, area: Rect) {
    let rows = now.partitions.iter().map(partition_row);
    let widths = [Constraint::Fill(1), Constraint::Length(12), Constraint::Length(8), Constraint::Length(7)];
    let table = Table::new(rows, widths).header(Row::new(["partition", "watermark", "behind", "lag"]).style(dim()));
    frame.render_widget(table.block(Block::bordered().title(" partitions ")), area);
}

fn partition_row(partition: &PartitionState) -> Row<'static> {
    // The time of day is enough beside a clock.
    let watermark = partition.watermark_ms.map(|time_ms| time_of_ms(time_ms).chars().skip(11).take(12).collect());
    let watermark: String = watermark.unwrap_or_else(|| "-".to_owned());
    let behind = partition.behind.map_or_else(|| "-".to_owned(), |behind| format!("{:.1} s", behind.as_secs_f64()));
    let name = format!("{}/{}", visible(&partition.topic), partition.partition);
    let lag = partition.lag_records.map_or_else(|| "-".to_owned(), |lag| lag.to_string());
    Row::new([name, watermark.trim_end_matches('Z').to_owned(), behind, lag])
}

fn draw_entities(frame: &mut Frame<'_>, now: &Snapshot, area: Rect) {
    let row = |entity: &super::EntityScore| {
        let style = Style::new().fg(color_of(entity.score));
        Row::new([Cell::from(format!("{:.2}", entity.score)).style(style), Cell::from(visible(&entity.entity))])
    };
    let table = Table::new(now.entities.iter().map(row), [Constraint::Length(5), Constraint::Fill(1)]);
    let table = table.header(Row::new(["score", "entity"]).style(dim()));
    frame.render_widget(table.block(Block::bordered().title(" highest scores ")), area);
}

fn draw_alerts(frame: &mut Frame<'_>, now: &Snapshot, area: Rect) {
    let why_height = if area.height >= WHY_HEIGHT + ALERTS_HEIGHT_MIN { WHY_HEIGHT } else { 0 };
    let [list, why] = Layout::vertical([Constraint::Fill(1), Constraint::Length(why_height)]).areas(area);
    let lines: Vec<Line<'_>> = now.alerts.newest().map(alert_line).collect();
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" alerts, newest first ")), list);
    if why_height > 0 {
        let block = now.alerts.newest().next().map(|seen| describe(&seen.alert)).unwrap_or_default();
        frame.render_widget(Paragraph::new(block).block(Block::bordered().title(" why the newest was raised ")), why);
    }
}

fn alert_line(seen: &SeenAlert) -> Line<'static> {
    let alert = &seen.alert;
    let latency = seen.latency.map(|latency| format!("  {} ms", latency.as_millis())).unwrap_or_default();
    let severity = format!("{:8} {:.2} ", visible(&alert.severity), alert.confidence);
    Line::from(vec![
        Span::styled(severity, bold().fg(color_of(alert.confidence))),
        Span::raw(format!(" {}  {}", visible(&alert.title), visible(&alert.entity))),
        Span::styled(format!("  {}  {}{latency}", visible(&alert.detection), visible(&alert.technique)), dim()),
    ])
}

/// As the severities are bounded.
fn color_of(score: f64) -> Color {
    match score {
        score if score >= 0.85 => Color::Red,
        score if score >= 0.6 => Color::LightRed,
        score if score >= 0.3 => Color::Yellow,
        _ => Color::Gray,
    }
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

fn dim() -> Style {
    Style::new().fg(Color::DarkGray)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::view::{EntityScore, Phase};
    use amoskys_proto::v1::Alert;
    use ratatui::{Terminal, backend::TestBackend};
    use std::time::Duration;

    fn painted(now: &Snapshot, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        terminal.draw(|frame| draw(frame, now)).expect("it is painted");
        terminal.backend().to_string()
    }

    fn full() -> Snapshot {
        let mut now = Snapshot {
            bus: "local:/tmp/x".into(),
            phase: Phase::Control,
            phase_left: Some(Duration::from_millis(11_200)),
            elapsed: Duration::from_secs(4),
            events_per_second: (0..300).collect(),
            events_read: 1234,
            rows_late: 2,
            windows_closed: 56,
            partitions: vec![PartitionState {
                topic: "amoskys.telemetry.process.v1".into(),
                partition: 1,
                watermark_ms: Some(1_700_000_000_123),
                behind: Some(Duration::from_millis(2100)),
                lag_records: Some(3),
            }],
            entities: vec![EntityScore { entity: "sh 4711".into(), score: 0.93 }],
            ..Default::default()
        };
        now.notes.push("staged: \x1b[31mred".to_owned());
        let alert = Alert {
            severity: "CRITICAL".into(),
            confidence: 0.95,
            title: "a running program's file was deleted".into(),
            entity: "pid 7 /dev/shm/\u{9b}x".into(),
            detection: "running_binary_deleted".into(),
            technique: "T1070.004".into(),
            ..Default::default()
        };
        now.alerts.push(SeenAlert { alert, latency: Some(Duration::from_millis(640)) });
        now
    }

    #[test]
    fn everything_is_on_a_large_terminal() {
        let screen = painted(&full(), 140, 50);
        for part in [
            "amoskys demo  control period, 12 s left   4 s on local:/tmp/x",
            "events per second: 299",
            "1234",
            "amoskys.telemetry.process.v1/1",
            "22:13:20.123",
            "2.1 s",
            "0.93  sh 4711",
            "CRITICAL 0.95  a running program's file was deleted  pid 7 /dev/shm/\\u009bx  running_binary_deleted",
            "640 ms",
            "why the newest was raised",
            "detection        running_binary_deleted  ATT&CK T1070.004",
            "q ends it staged: \\u001b[31mred",
        ] {
            assert!(screen.contains(part), "`{part}` is missing:\n{screen}");
        }
        assert!(!screen.contains('\x1b') && !screen.contains('\u{9b}'));
    }

    #[test]
    fn a_usual_terminal_shows_alerts_without_why() {
        let screen = painted(&full(), 80, 24);
        assert!(screen.contains("CRITICAL 0.95  a running program's file was deleted"), "{screen}");
        assert!(!screen.contains("why the newest"), "{screen}");
    }

    #[test]
    fn no_size_and_no_snapshot_panic() {
        for (width, height) in [(1, 1), (2, 3), (10, 5), (40, 10), (300, 100)] {
            painted(&full(), width, height);
            painted(&Snapshot::default(), width, height);
        }
    }
}
