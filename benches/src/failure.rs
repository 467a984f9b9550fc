//! Why a run ends early.

#![forbid(unsafe_code)]

/// Why the run ends early: the exit status and one clear line.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: u8,
    pub(crate) message: String,
}

impl Failure {
    /// A figure that cannot be trusted, or a subject that does not work: status 1.
    pub(crate) fn broken(message: impl Into<String>) -> Failure {
        Failure {
            status: 1,
            message: message.into(),
        }
    }

    /// Bad usage: status 2.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure {
            status: 2,
            message: message.into(),
        }
    }
}
