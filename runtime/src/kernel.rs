//! The datapath on a thread of its own: whoever needs it sends what is to be done and awaits the answer.
//!
//! One thing is done at a time, in the order it was sent. When every [`Kernel`] is gone the thread ends, and what it has put in
//! force stays.

use crate::enforcer::Enforcer;
use std::io;
use std::sync::mpsc::{self, Sender};
use std::thread;
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce(&mut dyn Enforcer) + Send>;

/// A way to the thread.
#[derive(Clone)]
pub struct Kernel {
    jobs: Sender<Job>,
}

/// The thread is gone: something that was done on it failed badly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the datapath's thread has ended")]
pub struct KernelGone;

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kernel")
    }
}

impl Kernel {
    /// Begins the thread, which owns the datapath from then on.
    ///
    /// # Errors
    /// There can be no thread.
    pub fn spawn(mut enforcer: Box<dyn Enforcer>) -> io::Result<Kernel> {
        let (jobs, received) = mpsc::channel::<Job>();
        thread::Builder::new().name("datapath".to_owned()).spawn(move || {
            for job in received {
                job(enforcer.as_mut());
            }
        })?;
        Ok(Kernel { jobs })
    }

    /// Has something done, and gives what it gave.
    ///
    /// # Errors
    /// [`KernelGone`].
    pub async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Enforcer) -> T + Send + 'static,
    ) -> Result<T, KernelGone> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |enforcer| {
            // Whoever asked may have gone.
            _ = reply.send(work(enforcer));
        });
        self.jobs.send(job).map_err(|_| KernelGone)?;
        answer.await.map_err(|_| KernelGone)
    }
}
