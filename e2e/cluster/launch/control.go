package launch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// The control socket speaks HTTP:
//
//	GET  /info                                  -> Info as JSON
//	POST /restart-apiserver?kill=true&down=5s   -> 200 when it is ready again
//	POST /node?name=node-1&action=reset         -> 200; the actions are those of node.Do
//	POST /stop                                  -> 202
func (c *cluster) serveControl() (io.Closer, error) {
	listener, err := listenIn(c.layout.root, controlSocket)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /info", func(w http.ResponseWriter, r *http.Request) {
		reply := make(chan Info, 1)
		select {
		case c.infos <- reply:
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(<-reply)
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("POST /restart-apiserver", c.handleRestart)
	mux.HandleFunc("POST /node", c.handleNode)
	mux.HandleFunc("POST /stop", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		c.stop()
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: pollTimeout}
	go func() { _ = server.Serve(listener) }()
	return server, nil
}

func (c *cluster) handleRestart(w http.ResponseWriter, r *http.Request) {
	request := restart{done: make(chan error, 1)}
	var err error
	if text := r.FormValue("kill"); text != "" {
		if request.kill, err = strconv.ParseBool(text); err != nil {
			http.Error(w, "kill must be true or false, is "+text, http.StatusBadRequest)
			return
		}
	}
	if text := r.FormValue("down"); text != "" {
		if request.down, err = time.ParseDuration(text); err != nil {
			http.Error(w, "down must be a time like 5s, is "+text, http.StatusBadRequest)
			return
		}
	}
	select {
	case c.restarts <- request:
	case <-r.Context().Done():
		return
	}
	if err := <-request.done; err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// listenIn and dialIn go by the name in the current directory, for a socket's full path may be too long.
func listenIn(directory, name string) (net.Listener, error) {
	if err := os.Chdir(directory); err != nil {
		return nil, err
	}
	listener, err := net.Listen("unix", name)
	if err != nil {
		return nil, err
	}
	return listener, os.Chmod(name, 0o600)
}

func dialIn(directory string) (net.Conn, error) {
	if err := os.Chdir(directory); err != nil {
		return nil, err
	}
	return net.Dial("unix", controlSocket)
}

// RestartAPIServer asks the cluster of a directory for it and returns when it is ready again.
func RestartAPIServer(ctx context.Context, directory string, kill bool, down time.Duration) error {
	query := url.Values{"kill": {strconv.FormatBool(kill)}, "down": {down.String()}}
	return post(ctx, directory, "/restart-apiserver?"+query.Encode())
}

// NodeAction presses a button of a real node.
func NodeAction(ctx context.Context, directory, name, action string) error {
	return post(ctx, directory, "/node?"+url.Values{"name": {name}, "action": {action}}.Encode())
}

// Stop asks the cluster of a directory to end.
func Stop(ctx context.Context, directory string) error { return post(ctx, directory, "/stop") }

func post(ctx context.Context, directory, path string) error {
	client := http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return dialIn(directory) },
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://cluster"+path, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("no cluster answers in %s: %w", filepath.Clean(directory), err)
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusBadRequest {
		body, _ := io.ReadAll(io.LimitReader(response.Body, tailBytes))
		return errors.New(string(body))
	}
	return nil
}
