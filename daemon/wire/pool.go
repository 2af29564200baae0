package wire

// Pool is one pool's size and health.
type Pool struct {
	Name      string `json:"name"` // region:template
	Template  string `json:"template"`
	Min       int    `json:"min"`
	Target    int    `json:"target"`
	Max       int    `json:"max"`
	Wanted    int    `json:"wanted"`               // how many sandboxes it should have now
	ScaleUp   int    `json:"scale_up_threshold"`   // per cent
	ScaleDown int    `json:"scale_down_threshold"` // per cent
	Hot       int    `json:"hot"`                  // of those ready, how many should run
	Adaptive  bool   `json:"adaptive"`
	Hold      bool   `json:"hold"`               // nothing is refilled
	Ready     int    `json:"ready"`              // to be claimed
	Running   int    `json:"running"`            // of those, how many run
	InUse     int    `json:"in_use"`             // claimed
	Starting  int    `json:"starting"`           // being started
	Total     int    `json:"total"`              // ready + in use
	Waiting   int    `json:"waiting"`            // claims that wait for a sandbox
	Started   uint64 `json:"started"`            // sandboxes that became ready since the daemon's start
	Degraded  string `json:"degraded,omitempty"` // why the last start failed
	Blocked   string `json:"blocked,omitempty"`  // why nothing may be started
	Available int    `json:"available"`          // older word for Ready
	Warming   int    `json:"warming"`            // older word for Starting
}

// PoolChange is the body of PUT /v1/pools/{name}. What is nil stays as it is.
type PoolChange struct {
	Min       *int  `json:"min,omitempty"`
	Target    *int  `json:"target,omitempty"`
	Max       *int  `json:"max,omitempty"`
	ScaleUp   *int  `json:"scale_up_threshold,omitempty"`
	ScaleDown *int  `json:"scale_down_threshold,omitempty"`
	Hot       *int  `json:"hot,omitempty"`
	Adaptive  *bool `json:"adaptive,omitempty"`
	Hold      *bool `json:"hold,omitempty"`
}

// PoolList is the body of GET /v1/pools.
type PoolList struct {
	Pools []Pool `json:"pools"`
}
