package checkpoint

// Why a checkpoint was taken; see Manifest.Trigger.
const (
	TriggerRequest  = "request"
	TriggerExpiry   = "expiry"
	TriggerIdle     = "idle"
	TriggerFork     = "fork"
	TriggerTemplate = "template" // it is the snapshot of a template
)
