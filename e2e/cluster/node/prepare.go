package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	prepareTimeout = 10 * time.Minute
	// What node-seal prints when all went well.
	sealed = "node: sealed"
)

// Prepare boots the root file system of a folder once and leaves these images in it. The console goes to a file there.
func Prepare(ctx context.Context, folder, images string) error {
	ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	work, err := os.MkdirTemp("", "")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	content, err := preparation()
	if err != nil {
		return err
	}
	archive := filepath.Join(work, "files.tar")
	if err := writeArchiveFile(archive, content); err != nil {
		return err
	}
	programs := filepath.Join(work, programsDisk)
	if err := makeProgramsDisk(ctx, "", programs); err != nil {
		return err
	}
	console := filepath.Join(folder, "prepare.log")
	output, err := os.Create(console)
	if err != nil {
		return err
	}
	defer output.Close()
	p := Prepared(folder)
	// One processor, with which the emulator does not hang (see the launcher): nobody watches here.
	arguments := machineArguments(p, 1, kept, []disk{{"programs", programs}, {"files", archive}, {"images", images}})
	// Both interfaces that node-setup wants, leading nowhere.
	for _, name := range []string{"host", "lan"} {
		arguments = append(arguments, "-netdev", "user,restrict=on,id="+name, "-device", "virtio-net-pci,romfile=,netdev="+name)
	}
	command := exec.CommandContext(ctx, Emulator, append(arguments, "-no-reboot")...)
	command.Stdout, command.Stderr = output, output
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Run(); err != nil {
		return fmt.Errorf("%s: %w; see %s", Emulator, errors.Join(err, ctx.Err()), console)
	}
	text, err := os.ReadFile(console)
	if err != nil {
		return err
	}
	if !bytes.Contains(text, []byte(sealed)) {
		return fmt.Errorf("the root file system did not take the images; see %s", console)
	}
	return nil
}

// Write makes the disks of a node in the cluster's directory.
func (n Node) Write(directory string, c Cluster, credentials Credentials) error {
	content, err := files(n, c, credentials)
	if err != nil {
		return err
	}
	return writeArchiveFile(filepath.Join(directory, n.archive()), content)
}

// WriteShared makes what all nodes of a cluster read: a disk with the program, and the images.
func WriteShared(ctx context.Context, directory, program string, images []Image) error {
	if err := makeProgramsDisk(ctx, program, filepath.Join(directory, programsDisk)); err != nil {
		return err
	}
	if len(images) == 0 {
		return nil
	}
	return WriteImages(filepath.Join(directory, imagesDisk), images)
}

// Arguments of the emulator for a node, run in the cluster's directory.
func (n Node) Arguments(p Prepared, images bool) []string { return arguments(p, n, images) }

func writeArchiveFile(path string, content map[string][]byte) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := writeArchive(file, content); err != nil {
		return err
	}
	return file.Close()
}

// makeProgramsDisk makes a file system that holds a program, or nothing.
func makeProgramsDisk(ctx context.Context, program, path string) error {
	const spare = 16 << 20 // for the file system's own tables
	size := int64(spare)
	folder, err := os.MkdirTemp(filepath.Dir(path), "programs")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	if program != "" {
		info, err := os.Stat(program)
		if err != nil {
			return err
		}
		size += info.Size()
		// mke2fs copies what a link leads to only for hard links, which need the same file system.
		if err := copyFile(program, filepath.Join(folder, "cluster")); err != nil {
			return err
		}
	}
	command := exec.CommandContext(ctx, mke2fs(), "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", folder, path, fmt.Sprintf("%dk", size>>10))
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("mke2fs: %w: %s", err, bytes.TrimSpace(output))
	}
	return nil
}

func copyFile(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o755)
}

// mke2fs is in a folder that users other than root may not have in their path.
func mke2fs() string {
	for _, path := range []string{"/usr/sbin/mke2fs", "/sbin/mke2fs"} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return "mke2fs"
}
