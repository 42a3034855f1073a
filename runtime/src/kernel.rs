//! The datapath on a thread of its own, and likewise what balances: whoever needs it sends what is to be done and awaits the answer.
//!
//! One thing is done at a time, in the order it was sent. When every [`Kernel`] is gone the thread ends, and what it has put in
//! force stays.

use crate::enforcer::Enforcer;
use std::io;
use std::sync::mpsc::{self, Sender};
use std::thread;
use tokio::sync::oneshot;

type Job<T> = Box<dyn FnOnce(&mut T) + Send>;

/// A way to the thread of what is asked, in the daemon an [`Enforcer`] or a [`crate::balancer::Balancer`].
pub struct Kernel<T: ?Sized = dyn Enforcer> {
    jobs: Sender<Job<T>>,
}

/// The thread is gone: something that was done on it failed badly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the thread that speaks to the kernel has ended")]
pub struct KernelGone;

impl<T: ?Sized> Clone for Kernel<T> {
    fn clone(&self) -> Self {
        Kernel { jobs: self.jobs.clone() }
    }
}

impl<T: ?Sized> std::fmt::Debug for Kernel<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kernel")
    }
}

impl<T: ?Sized + Send + 'static> Kernel<T> {
    /// Begins the thread, which owns what is asked from then on.
    ///
    /// # Errors
    /// There can be no thread.
    pub fn spawn(name: &str, mut asked: Box<T>) -> io::Result<Kernel<T>> {
        let (jobs, received) = mpsc::channel::<Job<T>>();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            for job in received {
                job(asked.as_mut());
            }
        })?;
        Ok(Kernel { jobs })
    }

    /// Has something done, and gives what it gave.
    ///
    /// # Errors
    /// [`KernelGone`].
    pub async fn call<A: Send + 'static>(
        &self,
        work: impl FnOnce(&mut T) -> A + Send + 'static,
    ) -> Result<A, KernelGone> {
        let (reply, answer) = oneshot::channel();
        let job: Job<T> = Box::new(move |asked| {
            // Whoever asked may have gone.
            _ = reply.send(work(asked));
        });
        self.jobs.send(job).map_err(|_| KernelGone)?;
        answer.await.map_err(|_| KernelGone)
    }
}
