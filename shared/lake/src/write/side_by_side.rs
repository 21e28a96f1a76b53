//! Pieces of work, shared with a second thread where that is wanted and there is a second processor.

use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::task::has_two_processors;

/// Does `work` for each of `items`, in whatever order. The first error that was met, if there is one; what was not begun by
/// then is left undone.
pub(super) fn each<T: Send, E: Send>(
    shared: bool,
    items: impl Iterator<Item = T> + Send,
    work: impl Fn(T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let left = Mutex::new(items);
    let failure = Mutex::new(None);
    let share = || {
        while let Some(item) = next(&left) {
            if let Err(error) = work(item) {
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                while next(&left).is_some() {}
            }
        }
    };
    thread::scope(|scope| {
        if shared && has_two_processors() {
            // Without a second thread the first one does it all.
            drop(thread::Builder::new().name("encode".to_owned()).spawn_scoped(scope, share));
        }
        share();
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

fn next<T>(left: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    left.lock().unwrap_or_else(PoisonError::into_inner).next()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn all_is_done_once_or_the_error_is_told() {
        let mut items = vec![0; 1000];
        each(true, items.iter_mut(), |item| {
            *item += 1;
            Ok::<_, ()>(())
        })
        .unwrap();
        assert!(items.iter().all(|item| *item == 1));
        let begun = AtomicUsize::new(0);
        let failed = each(true, 0..1000, |at| {
            begun.fetch_add(1, Ordering::Relaxed);
            if at == 3 { Err("three") } else { Ok(()) }
        });
        assert_eq!(failed, Err("three"));
        assert!(begun.load(Ordering::Relaxed) >= 4);
        assert_eq!(each(true, 0..0, |_| Err(())), Ok(()));
    }
}
