package node

import (
	"fmt"
	"path/filepath"
)

// Emulator is the program that runs a node.
const Emulator = "qemu-system-x86_64"

// Names in the cluster's directory, which the emulator runs in: the path of a socket is at most 107 bytes long.
const (
	LANSocket    = "lan"
	TunnelSocket = "tunnel"
	programsDisk = "programs.img"
	imagesDisk   = "images.tar"
	memoryMiB    = 3072
	processors   = 2
	// Emulated vector instructions are slower than the plain ones that programs use without them.
	processor     = "max,-avx,-avx2"
	monitorSuffix = ".monitor"
)

// Prepared is the folder that `e2e/setup node` makes: kernel and root file system.
type Prepared string

func (p Prepared) kernel() string { return filepath.Join(string(p), "vmlinuz") }
func (p Prepared) root() string   { return filepath.Join(string(p), "root.img") }

// disk has a serial number by which the guest knows it.
type disk struct{ serial, path string }

const (
	// What is written is thrown away at the end of the emulator, but is there after a reboot of the guest.
	temporary = "snapshot=on,cache=unsafe"
	kept      = "cache=unsafe"
)

// machineArguments give a machine its root file system, which is written as rootOptions say, and further disks.
func machineArguments(p Prepared, processors int, rootOptions string, disks []disk) []string {
	arguments := []string{
		"-M", "q35", "-cpu", processor, "-accel", "tcg,thread=multi",
		"-smp", fmt.Sprint(processors), "-m", fmt.Sprint(memoryMiB),
		"-nodefaults", "-display", "none",
		// A serial port costs an emulated CPU an exit for each character.
		"-chardev", "stdio,id=console,signal=off", "-device", "virtio-serial-pci", "-device", "virtconsole,chardev=console",
		"-kernel", p.kernel(),
		"-append", "root=/dev/nvme0n1 rw rootwait console=hvc0 panic=1 net.ifnames=0 systemd.show_status=1 TERM=dumb",
		// Of all disks this is the one whose driver Debian's kernels have built in.
		"-drive", "file=" + p.root() + ",if=none,id=root,format=raw," + rootOptions,
		"-device", "nvme,drive=root,serial=root",
	}
	for _, d := range disks {
		arguments = append(arguments,
			"-drive", fmt.Sprintf("file=%s,if=none,id=%s,format=raw,readonly=on", d.path, d.serial),
			"-device", fmt.Sprintf("virtio-blk-pci,drive=%s,serial=%s", d.serial, d.serial))
	}
	return arguments
}

// arguments of the emulator for a node, run in the cluster's directory.
func arguments(p Prepared, n Node, images bool) []string {
	disks := []disk{{"programs", programsDisk}, {"files", n.archive()}}
	if images {
		disks = append(disks, disk{"images", imagesDisk})
	}
	return append(machineArguments(p, processors, temporary, disks),
		"-netdev", fmt.Sprintf("user,id=host,hostfwd=tcp:127.0.0.1:%d-:%d", n.KubeletHostPort, KubeletPort),
		"-device", "virtio-net-pci,netdev=host,romfile=",
		"-netdev", fmt.Sprintf("stream,id=lan,server=off,addr.type=unix,addr.path=%s", LANSocket),
		"-device", "virtio-net-pci,netdev=lan,romfile=,mac="+n.lanMAC(),
		"-qmp", fmt.Sprintf("unix:%s,server=on,wait=off", n.Monitor()))
}

func (n Node) archive() string { return n.Name() + ".tar" }

// Monitor is the socket that Do takes, in the cluster's directory.
func (n Node) Monitor() string { return n.Name() + monitorSuffix }
