package daemon

import (
	"fmt"

	"sandpool/configs"
	"sandpool/pool"
	"sandpool/pool/label"
	"sandpool/runtime/egress"
	"sandpool/runtime/nic"
)

// interfaces are those of sandboxes whose labels say so.
type interfaces struct{ *nic.Host }

// newInterfaces makes what makes them. Daemons that share a host have folders of their own.
func newInterfaces(c configs.Config) interfaces {
	return interfaces{nic.New(c.Containerd.Namespace + " " + c.Daemon.StateDir)}
}

// Wanted tells whether a sandbox with these labels has an interface.
func (interfaces) Wanted(labels map[string]string) bool {
	layers, err := egress.ParseLayers(label.Join(labels, pool.LabelNetwork))
	return err == nil && layers.NIC()
}

// checkInterfaces refuses templates that want interfaces which this host cannot make.
func checkInterfaces(c configs.Config) error {
	name, wanted := c.TemplateWithInterface()
	if !wanted {
		return nil
	}
	if err := nic.Check(); err != nil {
		return fmt.Errorf("templates.%s.network.mode %q: %w; or use mode = %q", name, egress.NIC, err, egress.Door)
	}
	return nil
}
