package configs

import (
	"path/filepath"
	"testing"
)

// TestRegions loads the example of each region and checks that its pools have the sizes that were planned for it.
func TestRegions(t *testing.T) {
	templates := []string{"generic", "react-vite", "nextjs", "python-fastapi"}
	total := 0
	for region, targets := range map[string][4]int{
		"us-east-1":      {50, 20, 15, 10},
		"us-west-2":      {40, 15, 12, 8},
		"eu-west-1":      {30, 15, 10, 8},
		"eu-central-1":   {25, 12, 8, 6},
		"ap-south-1":     {20, 10, 5, 5},
		"ap-northeast-1": {25, 12, 8, 6},
	} {
		t.Run(region, func(t *testing.T) {
			c, err := Load(filepath.Join("regions", region+".toml"))
			if err != nil {
				t.Fatal(err)
			}
			if c.Region != region || len(c.Pools) != len(templates) {
				t.Errorf("region %q with %d pools", c.Region, len(c.Pools))
			}
			for i, template := range templates {
				p := c.Pools[template]
				if p.Target != targets[i] || p.Min < 1 || p.Min >= p.Target || p.Max < 2*p.Target || p.ScaleUp != 70 || p.ScaleDown != 30 {
					t.Errorf("pool %s is %+v, want a target of %d", template, p, targets[i])
				}
				total += p.Target
			}
		})
	}
	if files, err := filepath.Glob("regions/*.toml"); err != nil || len(files) != 6 || total != 375 {
		t.Errorf("%d files with %d sandboxes, want 6 with 375 (%v)", len(files), total, err)
	}
}
