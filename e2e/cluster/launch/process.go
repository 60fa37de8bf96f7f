package launch

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

const (
	// The API server waits a minute for its clients to close their watches, which they do not.
	stopPatience = 3 * time.Second
	// Enough for a panic with its first goroutine.
	tailLines = 25
	tailBytes = 64 << 10
)

// process is a running component. Its output goes to a file, which a restart continues.
type process struct {
	name    string
	log     string
	command *exec.Cmd
	// Closed when the process has ended; outcome may be read then.
	ended   chan struct{}
	outcome error
}

// start runs a command whose output goes to the log. It must be called from a thread that lives as long as the process may:
// the kernel kills the process when that thread ends.
func start(name, log string, command *exec.Cmd) (*process, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	command.Stdout, command.Stderr = file, file
	command.SysProcAttr = &syscall.SysProcAttr{
		// A launcher that was killed leaves nothing behind; its data is thrown away, so that kill -9 is good enough.
		Pdeathsig: syscall.SIGKILL,
		// Ctrl-C in a terminal reaches the launcher alone, which stops the components in their order.
		Setpgid: true,
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p := &process{name: name, log: log, command: command, ended: make(chan struct{})}
	go func() {
		p.outcome = command.Wait()
		close(p.ended)
	}()
	return p, nil
}

func (p *process) pid() int { return p.command.Process.Pid }

func (p *process) alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// stop ends the process and waits for its end: politely for stopPatience unless kill is set.
func (p *process) stop(kill bool) {
	if !kill {
		_ = p.command.Process.Signal(syscall.SIGTERM) // an error means that it has ended already
		select {
		case <-p.ended:
			return
		case <-time.After(stopPatience):
		}
	}
	_ = p.command.Process.Kill()
	<-p.ended
}

// failure describes an end that was not asked for.
func (p *process) failure() error {
	outcome := "ended"
	if p.outcome != nil {
		outcome = p.outcome.Error()
	}
	return fmt.Errorf("%s ended by itself: %s\n--- the end of %s\n%s", p.name, outcome, p.log, tail(p.log))
}

// tail is the last lines of a file.
func tail(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Size() > tailBytes {
		_, _ = file.Seek(-tailBytes, io.SeekEnd)
	}
	content, err := io.ReadAll(file)
	if err != nil {
		return err.Error()
	}
	lines := bytes.SplitAfter(content, []byte("\n"))
	if len(lines) > tailLines {
		lines = lines[len(lines)-tailLines:]
	}
	return string(bytes.Join(lines, nil))
}
