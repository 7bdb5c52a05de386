//! A limit on calls of librdkafka's that have none.
//!
//! Limits: a call that is never answered keeps what it works on, and a thread, for as long as the process lives.

use std::{
    io,
    sync::mpsc::{RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

/// What `ask` returns; `None` when it takes longer, and it is left to itself then. An error says that there is no thread to be
/// had, and nothing was asked.
pub(super) fn answer_within<T: Send + 'static>(
    time: Duration,
    ask: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Option<T>> {
    let (answer, answered) = sync_channel(1);
    let thread = thread::Builder::new().name("answer".to_owned()).spawn(move || drop(answer.send(ask())))?;
    match answered.recv_timeout(time) {
        Ok(answer) => Ok(Some(answer)),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        // It panicked instead.
        Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => Ok(None),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_an_answer_that_does_not_come() {
        assert_eq!(answer_within(Duration::from_secs(60), || 7).expect("a thread"), Some(7));
        let (end, ended) = sync_channel::<()>(0);
        let never = answer_within(Duration::from_millis(10), move || ended.recv().is_ok());
        assert_eq!(never.expect("a thread"), None);
        drop(end);
    }

    #[test]
    #[should_panic(expected = "what went wrong")]
    fn a_panic_is_the_askers() {
        let _ = answer_within(Duration::from_secs(60), || panic!("what went wrong"));
    }
}
