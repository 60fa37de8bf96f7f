package node

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"time"
)

// Actions on a node's machine, by QEMU's names for them.
var actions = map[string]string{
	"reset":    "system_reset",     // as the reset button: nothing is written first
	"stop":     "stop",             // the machine stands still, as one that is unplugged
	"continue": "cont",             // and goes on
	"shutdown": "system_powerdown", // as the power button
}

const monitorTimeout = 10 * time.Second

// Do presses a button of the machine whose monitor socket this is: reset, stop or continue.
func Do(socket, action string) error {
	command, found := actions[action]
	if !found {
		return fmt.Errorf("a node knows no %q; it knows %v", action, Actions())
	}
	connection, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(monitorTimeout))
	return execute(connection, command)
}

// Actions that Do knows.
func Actions() []string {
	names := make([]string, 0, len(actions))
	for name := range actions {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// execute speaks QEMU's machine protocol: a greeting, then a reply to each command, with events in between.
func execute(connection net.Conn, command string) error {
	lines := bufio.NewScanner(connection)
	for _, next := range []string{"", "qmp_capabilities", command} {
		if next != "" {
			if err := json.NewEncoder(connection).Encode(map[string]string{"execute": next}); err != nil {
				return err
			}
		}
		if err := awaitReply(lines); err != nil {
			return err
		}
	}
	return nil
}

func awaitReply(lines *bufio.Scanner) error {
	for lines.Scan() {
		var reply struct {
			Greeting json.RawMessage `json:"QMP"`
			Return   json.RawMessage `json:"return"`
			Error    *struct {
				Description string `json:"desc"`
			} `json:"error"`
		}
		if err := json.Unmarshal(lines.Bytes(), &reply); err != nil {
			return err
		}
		if reply.Error != nil {
			return fmt.Errorf("the emulator: %s", reply.Error.Description)
		}
		if reply.Greeting != nil || reply.Return != nil {
			return nil
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return fmt.Errorf("the emulator closed its monitor")
}
