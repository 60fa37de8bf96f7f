package launch

import (
	"maps"
	"slices"
)

// flags writes --name=value, in a stable order, so that a process list and a log read the same each time.
func flags(values map[string]string) []string {
	arguments := make([]string, 0, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		arguments = append(arguments, "--"+name+"="+values[name])
	}
	return arguments
}
