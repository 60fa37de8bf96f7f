package node

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestANodesFilesAreComplete(t *testing.T) {
	for _, driver := range CgroupDrivers {
		content, err := files(Node{Number: 2}, Cluster{Nodes: 3, ClusterDNS: "10.96.0.10", CgroupDriver: driver}, Credentials{})
		if err != nil {
			t.Fatal(err)
		}
		for file, want := range map[string]string{
			"etc/node/env":                   "NODE_NAME=node-2\nNODE_IP=192.168.76.2\n",
			"etc/node/routes":                "10.244.1.0/24 192.168.76.1\n10.244.3.0/24 192.168.76.3\n",
			"etc/cni/net.d/10-pods.conflist": `"subnet": "10.244.2.0/24"`,
			"etc/kubernetes/kubelet.yaml":    "cgroupDriver: " + driver,
			"etc/containerd/config.toml":     "SystemdCgroup = " + map[string]string{"systemd": "true", "cgroupfs": "false"}[driver],
		} {
			if !strings.Contains(string(content[file]), want) {
				t.Errorf("%s: %q is not in %s", file, want, content[file])
			}
		}
		if !json.Valid(content["etc/cni/net.d/10-pods.conflist"]) {
			t.Error("the network's configuration is no JSON")
		}
	}
}

func TestAPreparationHasNoCredentials(t *testing.T) {
	content, err := preparation()
	if err != nil {
		t.Fatal(err)
	}
	for file := range content {
		if strings.HasPrefix(file, "etc/kubernetes") {
			t.Error(file)
		}
	}
	if _, found := content["etc/node/prepare"]; !found {
		t.Error("node-seal would not run")
	}
}

func TestTheGuestFindsItsDisks(t *testing.T) {
	text := strings.Join(arguments("/p", Node{Number: 1, KubeletHostPort: 4711}, true), " ")
	for _, part := range []string{
		"file=/p/root.img,if=none,id=root,format=raw,snapshot=on", "file=programs.img,if=none,id=programs", "serial=programs",
		"file=node-1.tar,if=none,id=files", "serial=files", "file=images.tar,if=none,id=images", "serial=images",
		"hostfwd=tcp:127.0.0.1:4711-:10250",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in %s", part, text)
		}
	}
	if strings.Contains(strings.Join(arguments("/p", Node{}, false), " "), imagesDisk) {
		t.Error("a disk without images")
	}
}

func TestLibrariesAreNamedAsTheProgramNamesThem(t *testing.T) {
	got := parseLibraries("\tlinux-vdso.so.1 (0x00007ffd)\n\tlibelf.so.1 => /lib/x86_64-linux-gnu/libelf.so.1 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n")
	if want := []string{"/lib/x86_64-linux-gnu/libelf.so.1", "/lib64/ld-linux-x86-64.so.2"}; !slices.Equal(got, want) {
		t.Error(got)
	}
}

func TestAnArchiveOfImagesNamesItsParts(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "images.tar")
	if err := os.WriteFile(filepath.Join(folder, "pause"), []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := WriteImages(path, []Image{PauseFrom(filepath.Join(folder, "pause"))}); err != nil {
		t.Fatal(err)
	}
	parts := readArchive(t, path)
	var manifest []manifestEntry
	if err := json.Unmarshal(parts["manifest.json"], &manifest); err != nil || len(manifest) != 1 {
		t.Fatal(err, manifest)
	}
	var config imageConfig
	if err := json.Unmarshal(parts[manifest[0].Config], &config); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(config.Config.Entrypoint, []string{"/pause"}) || manifest[0].RepoTags[0] != PauseImage {
		t.Error(config, manifest)
	}
	layer := parts[manifest[0].Layers[0]]
	if !bytes.Contains(layer, []byte("program")) || "sha256:"+strings.TrimSuffix(manifest[0].Layers[0], ".tar") != config.RootFS.DiffIDs[0] {
		t.Error("the layer is not what the configuration names")
	}
	left, err := filepath.Glob(filepath.Join(folder, "layer*"))
	if err != nil || len(left) > 0 {
		t.Error(err, left)
	}
}

func readArchive(t *testing.T, path string) map[string][]byte {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	parts := map[string][]byte{}
	for archive := tar.NewReader(file); ; {
		header, err := archive.Next()
		if err == io.EOF {
			return parts
		}
		if err != nil {
			t.Fatal(err)
		}
		if parts[header.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheHubSendsAFrameToAllOthers(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	hub := new(Hub)
	go hub.Serve(listener)
	connections := make([]net.Conn, 3)
	for i := range connections {
		if connections[i], err = net.Dial("tcp", listener.Addr().String()); err != nil {
			t.Fatal(err)
		}
		defer connections[i].Close()
		_ = connections[i].SetDeadline(time.Now().Add(5 * time.Second))
	}
	for connected := 0; connected < len(connections); {
		hub.mutex.Lock()
		connected = len(hub.ports)
		hub.mutex.Unlock()
	}
	frame := []byte("\x00\x00\x00\x05hello")
	if _, err := connections[0].Write(frame); err != nil {
		t.Fatal(err)
	}
	for _, connection := range connections[1:] {
		if got, err := readFrame(connection); err != nil || !bytes.Equal(got, frame) {
			t.Errorf("%q %v", got, err)
		}
	}
}

func TestATooLongFrameIsRefused(t *testing.T) {
	if _, err := readFrame(strings.NewReader("\xff\xff\xff\xff")); err == nil || err == io.EOF {
		t.Error(err)
	}
}

func TestTheTunnelLeadsToTheKubelet(t *testing.T) {
	kubelet, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer kubelet.Close()
	go func() {
		if connection, err := kubelet.Accept(); err == nil {
			_, _ = io.Copy(connection, connection)
		}
	}()
	n := Node{Number: 1, KubeletHostPort: kubelet.Addr().(*net.TCPAddr).Port}
	proxy := httptest.NewServer(NewTunnel([]Node{n}))
	defer proxy.Close()
	connection, err := net.Dial("tcp", proxy.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(connection, "CONNECT node-1:10250 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nhello"); err != nil {
		t.Fatal(err)
	}
	want := "HTTP/1.1 200 Connection established\r\n\r\nhello"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(connection, got); err != nil || string(got) != want {
		t.Errorf("%q %v", got, err)
	}
	response, err := http.Get(proxy.URL)
	if err != nil || response.StatusCode != http.StatusMethodNotAllowed {
		t.Error(response, err)
	}
}

func TestTheMonitorIsGreetedFirst(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	go func() {
		defer server.Close()
		_, _ = io.WriteString(server, `{"QMP": {"version": {}}}`+"\n")
		for range 2 {
			buffer := make([]byte, 200)
			if length, err := server.Read(buffer); err == nil && strings.Contains(string(buffer[:length]), "system_reset") {
				_, _ = io.WriteString(server, `{"event": "RESET"}`+"\n")
			}
			_, _ = io.WriteString(server, `{"return": {}}`+"\n")
		}
	}()
	if err := execute(client, "system_reset"); err != nil {
		t.Error(err)
	}
	if err := Do("nowhere", "explode"); err == nil || !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
}
