//! Threads that may not be had: clusters limit the processes and the memory of a job.

use std::io;
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

use crate::error::{Error, Result};

/// Starts a thread.
///
/// # Errors
/// [`Fault::Threads`](crate::error::Fault::Threads) where the system gives none.
pub fn spawn<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
    Builder::new().name(name.to_owned()).spawn(work).map_err(Error::starting_thread)
}

/// Starts a thread that may borrow what outlives `scope`.
///
/// # Errors
/// [`Fault::Threads`](crate::error::Fault::Threads) where the system gives none.
pub fn spawn_scoped<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    let started: io::Result<_> = Builder::new().name(name.to_owned()).spawn_scoped(scope, work);
    started.map_err(Error::starting_thread)
}
