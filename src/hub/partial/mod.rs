//! What a download is on disk: a partial file of its own that gets its name when size and digest are proved.

pub(super) mod leftover;
pub(super) mod partial;
pub(super) mod sum;
