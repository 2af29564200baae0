package wire

// Codes of errors that clients act on. The daemon has others: docs/api.md has them all.
const (
	CodeInvalidArgument    = "invalid_argument"
	CodeNotFound           = "not_found"
	CodeFileNotFound       = "file_not_found"
	CodeConflict           = "conflict"
	CodePoolEmpty          = "pool_empty"
	CodeQuota              = "quota"
	CodeTooMany            = "too_many"
	CodeUnavailable        = "unavailable"
	CodeTimeout            = "timeout"
	CodeCommandNotFound    = "command_not_found"
	CodeCommandNotRunnable = "command_not_runnable"
)
