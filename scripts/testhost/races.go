package testhost

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// raceReport begins each report of Go's race detector.
const raceReport = "WARNING: DATA RACE"

// races returns the first report of the race detector in each log in dir as an error: a program that was built with it goes on
// after a race, and one that is killed then has no exit code to tell of it.
func races(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return err
	}
	var found []string
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("look for data races: %w", err)
		}
		if _, report, raced := strings.Cut(string(data), raceReport); raced {
			report, _, _ = strings.Cut(report, "\n==================")
			found = append(found, fmt.Sprintf("%s: %s%s", filepath.Base(path), raceReport, report))
		}
	}
	if len(found) > 0 {
		return fmt.Errorf("data race in a program of the test host:\n%s", strings.Join(found, "\n"))
	}
	return nil
}
