// A Go program that answers DNS on a virtual network and asks itself: udp ADDRESS
package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

func fail(err error) {
	fmt.Println(err)
	os.Exit(1)
}

// answer makes the response to a query for one name: type A gets the address, others nothing.
func answer(query []byte, address net.IP) []byte {
	end := 12
	for query[end] != 0 {
		end += int(query[end]) + 1
	}
	end += 5
	out := append([]byte{}, query[:end]...)
	binary.BigEndian.PutUint16(out[2:], 0x8580)
	binary.BigEndian.PutUint16(out[6:], 0)
	binary.BigEndian.PutUint32(out[8:], 0)
	if binary.BigEndian.Uint16(query[end-4:]) == 1 {
		binary.BigEndian.PutUint16(out[6:], 1)
		out = append(out, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
		out = append(out, address...)
	}
	return out
}

func serve(port string, address net.IP) {
	server, err := net.ListenPacket("udp", ":"+port)
	if err != nil {
		fail(err)
	}
	go func() {
		buffer := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(buffer)
			if err != nil {
				return
			}
			if n < 17 {
				server.WriteTo([]byte(strings.ToUpper(string(buffer[:n]))), from)
				continue
			}
			server.WriteTo(answer(buffer[:n], address), from)
		}
	}()
}

func resolve(server string) {
	resolver := &net.Resolver{PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, network, server)
		}}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	addresses, err := resolver.LookupHost(ctx, "somewhere.example.")
	fmt.Println("resolved", addresses, err)
}

func dialled(server string) {
	conn, err := net.Dial("udp", server)
	if err != nil {
		fail(err)
	}
	buffer := make([]byte, 100)
	for _, text := range []string{"one", "", "three"} {
		if _, err := conn.Write([]byte(text)); err != nil {
			fail(err)
		}
		conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, err := conn.Read(buffer)
		fmt.Printf("echo %q %v\n", buffer[:n], err)
	}
	host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
	fmt.Println("peer", host == os.Args[1], "family", conn.LocalAddr().Network())
}

func main() {
	address := net.ParseIP(os.Args[1]).To4()
	serve("53", address)
	resolve(os.Args[1] + ":53")
	dialled(os.Args[1] + ":53")
	if len(os.Args) > 2 {
		fmt.Println("serving")
		time.Sleep(time.Hour)
	}
}
