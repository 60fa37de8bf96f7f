package node

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

const (
	// PauseImage is the sandbox of every pod.
	PauseImage = "securitywatch.local/pause:1"
	// ToolsImage has a shell, curl, wget, cat and nsenter; every node has it.
	ToolsImage = "securitywatch.local/tools:1"
)

// Image is a container image made of one layer.
type Image struct {
	Name       string
	Entrypoint []string
	Command    []string
	// layer writes the root file system as a tar archive.
	layer func(*tar.Writer) error
}

// PauseFrom is the sandbox image around a static program.
func PauseFrom(program string) Image {
	return Image{Name: PauseImage, Entrypoint: []string{"/pause"}, layer: func(layer *tar.Writer) error {
		return addFile(layer, program, "pause")
	}}
}

// ToolsFrom is the tools image from a folder that holds its root file system.
func ToolsFrom(folder string) Image {
	return Image{Name: ToolsImage, Command: []string{"/bin/bash"}, layer: func(layer *tar.Writer) error {
		return addTree(layer, folder)
	}}
}

// ProgramFrom is an image like those of the Containerfile: the program in the root folder, the libraries it is linked
// with, this machine's certificates, and nothing else.
func ProgramFrom(name, program string) Image {
	own := filepath.Base(program)
	return Image{Name: name, Entrypoint: []string{"/" + own}, layer: func(layer *tar.Writer) error {
		libraries, err := librariesOf(program)
		if err != nil {
			return err
		}
		stripped, remove, err := strip(program)
		if err != nil {
			return err
		}
		defer remove()
		if err := addFile(layer, stripped, own); err != nil {
			return err
		}
		for _, library := range libraries {
			if err := addFile(layer, library, strings.TrimPrefix(library, "/")); err != nil {
				return err
			}
		}
		return addSurroundings(layer)
	}}
}

// addSurroundings is what programs look for besides their libraries, as in the images of the Containerfile.
func addSurroundings(layer *tar.Writer) error {
	const certificates = "/etc/ssl/certs/ca-certificates.crt"
	if _, err := os.Stat(certificates); err == nil {
		if err := addFile(layer, certificates, strings.TrimPrefix(certificates, "/")); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		"etc/nsswitch.conf": "hosts: files dns\n",
		"etc/passwd":        "root:x:0:0:root:/:/\nnonroot:x:65532:65532:nonroot:/:/\n",
		"etc/group":         "root:x:0:\nnonroot:x:65532:\n",
	} {
		if err := layer.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text))}); err != nil {
			return err
		}
		if _, err := io.WriteString(layer, text); err != nil {
			return err
		}
	}
	for _, folder := range []string{"proc/", "sys/", "dev/"} {
		if err := layer.WriteHeader(&tar.Header{Name: folder, Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
			return err
		}
	}
	return layer.WriteHeader(&tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777})
}

// strip copies a program without its debug information, which is most of it; remove deletes the copy.
func strip(program string) (path string, remove func(), err error) {
	folder, err := os.MkdirTemp("", "")
	if err != nil {
		return "", nil, err
	}
	remove = func() { _ = os.RemoveAll(folder) }
	path = filepath.Join(folder, "program")
	if output, err := exec.Command("strip", "-o", path, program).CombinedOutput(); err != nil {
		remove()
		return "", nil, fmt.Errorf("strip %s: %w: %s", program, err, bytes.TrimSpace(output))
	}
	return path, remove, nil
}

// "libz.so.1 => /lib/x.so.1 (0x...)" and "/lib64/ld.so (0x...)": where the loader looks for it, as the program names it.
var libraryLine = regexp.MustCompile(`(?m)^\s*(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)$`)

func librariesOf(program string) ([]string, error) {
	command := exec.Command("ldd", program)
	command.Env = append(os.Environ(), "LC_ALL=C")
	output, err := command.CombinedOutput()
	text := string(output)
	if strings.Contains(text, "not a dynamic executable") || strings.Contains(text, "statically linked") {
		return nil, nil
	}
	if err != nil || strings.Contains(text, "not found") {
		return nil, fmt.Errorf("ldd %s: %s", program, strings.TrimSpace(text))
	}
	return parseLibraries(text), nil
}

func parseLibraries(ldd string) []string {
	var libraries []string
	for _, match := range libraryLine.FindAllStringSubmatch(ldd, -1) {
		libraries = append(libraries, match[1])
	}
	return libraries
}

// addFile adds a regular file of this machine, wherever a link to it leads.
func addFile(layer *tar.Writer, source, name string) error {
	file, err := os.Open(source)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	header := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: int64(info.Mode().Perm()), Size: info.Size()}
	if err := layer.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(layer, file)
	return err
}

func addTree(layer *tar.Writer, folder string) error {
	return filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == folder {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		target := ""
		if info.Mode()&fs.ModeSymlink != 0 {
			if target, err = os.Readlink(path); err != nil {
				return err
			}
		}
		header, err := tar.FileInfoHeader(info, target)
		if err != nil {
			return err
		}
		if header.Name, err = filepath.Rel(folder, path); err != nil {
			return err
		}
		if err := layer.WriteHeader(header); err != nil || !info.Mode().IsRegular() {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		_, err = io.Copy(layer, file)
		return err
	})
}

// imageConfig is what container runtimes read of an image.
type imageConfig struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Config       struct {
		Entrypoint []string `json:"Entrypoint,omitempty"`
		Cmd        []string `json:"Cmd,omitempty"`
		Env        []string `json:"Env"`
	} `json:"config"`
	RootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

func (i Image) config(layerDigest string) ([]byte, error) {
	var config imageConfig
	config.Architecture, config.OS = "amd64", "linux"
	config.Config.Entrypoint, config.Config.Cmd = i.Entrypoint, i.Command
	config.Config.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	config.RootFS.Type, config.RootFS.DiffIDs = "layers", []string{"sha256:" + layerDigest}
	return json.Marshal(config)
}

// manifestEntry is one image of a docker archive's manifest.json.
type manifestEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// WriteImages writes an archive as `docker save` does, which containerd imports. Layers go through files in the
// directory of the archive.
func WriteImages(path string, images []Image) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	archive := tar.NewWriter(file)
	var manifest []manifestEntry
	for _, image := range images {
		entry, err := addImage(archive, image, filepath.Dir(path))
		if err != nil {
			return fmt.Errorf("image %s: %w", image.Name, err)
		}
		manifest = append(manifest, entry)
	}
	text, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	if err := addBytes(archive, "manifest.json", text); err != nil {
		return err
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return file.Close()
}

func addImage(archive *tar.Writer, image Image, scratch string) (manifestEntry, error) {
	layer, err := os.CreateTemp(scratch, "layer")
	if err != nil {
		return manifestEntry{}, err
	}
	defer os.Remove(layer.Name())
	defer layer.Close()
	digest := sha256.New()
	writer := tar.NewWriter(io.MultiWriter(layer, digest))
	if err := image.layer(writer); err != nil {
		return manifestEntry{}, err
	}
	if err := writer.Close(); err != nil {
		return manifestEntry{}, err
	}
	sum := hex.EncodeToString(digest.Sum(nil))
	config, err := image.config(sum)
	if err != nil {
		return manifestEntry{}, err
	}
	entry := manifestEntry{RepoTags: []string{image.Name}, Layers: []string{sum + ".tar"}}
	own := sha256.Sum256(config)
	entry.Config = hex.EncodeToString(own[:]) + ".json"
	if err := addBytes(archive, entry.Config, config); err != nil {
		return manifestEntry{}, err
	}
	return entry, addFile(archive, layer.Name(), entry.Layers[0])
}

func addBytes(archive *tar.Writer, name string, content []byte) error {
	if err := archive.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content))}); err != nil {
		return err
	}
	_, err := archive.Write(content)
	return err
}
