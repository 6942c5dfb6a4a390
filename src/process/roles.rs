//! The names of the roles in which this command re-executes itself, as hidden subcommands.

/// The hidden subcommand that makes this command the supervisor.
pub(super) const SUPERVISOR: &str = "__supervisor";
/// The hidden subcommand that makes this command the program's parent.
pub(super) const REAPER: &str = "__reaper";
/// The hidden subcommand that makes this command the last step before the program.
pub(super) const EXEC: &str = "__exec";
/// The hidden subcommand that makes this command remove a folder.
pub(super) const SWEEPER: &str = "__sweeper";
/// The hidden subcommand that makes this command run several programs.
pub(super) const BATCH: &str = "__batch";
