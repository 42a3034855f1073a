//! Many changes at once are one: told when it has been quiet for a while, or when the first has waited long enough.

use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, timeout_at};

/// So long nothing must happen.
const QUIET: Duration = Duration::from_millis(100);
/// The first change waits so long at most.
const LONGEST: Duration = Duration::from_secs(1);

/// Waits until a change that has just been heard of is over. False if nothing can be heard any more.
pub(super) async fn settle(changes: &mut Receiver<()>) -> bool {
    let latest = Instant::now() + LONGEST;
    loop {
        let until = (Instant::now() + QUIET).min(latest);
        match timeout_at(until, changes.recv()).await {
            Ok(Some(())) if Instant::now() < latest => {}
            Ok(Some(())) | Err(_) => return true,
            Ok(None) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;
    use tokio::time::sleep;

    /// When a change that is followed by others, so long after each other, is told.
    async fn told_after(pauses: &[u64]) -> u128 {
        let (tell, mut changes) = mpsc::channel(1);
        let pauses = pauses.to_vec();
        tokio::spawn(async move {
            for pause in pauses {
                sleep(Duration::from_millis(pause)).await;
                _ = tell.try_send(());
            }
            sleep(Duration::from_secs(60)).await;
        });
        let began = Instant::now();
        assert!(settle(&mut changes).await);
        began.elapsed().as_millis()
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_told_when_it_is_quiet() {
        assert_eq!(told_after(&[]).await, 100);
        assert_eq!(told_after(&[50, 99]).await, 249);
        assert_eq!(told_after(&[150]).await, 100);
    }

    #[tokio::test(start_paused = true)]
    async fn endless_changes_are_told_after_a_second() {
        assert_eq!(told_after(&[90; 100]).await, 1000);
    }
}
