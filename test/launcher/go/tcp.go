// A Go program that is its own web server and client on a virtual network: tcp ADDRESS SILENT
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

func fail(err error) {
	fmt.Println(err)
	os.Exit(1)
}

func serve(address string) {
	listener, err := net.Listen("tcp", ":8090")
	if err != nil {
		fail(err)
	}
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintf(w, "%s from %s", r.URL.Path, host)
	}))
	fmt.Println("listening", listener.Addr(), listener.Addr().(*net.TCPAddr).Port)
}

func get(address string) {
	client := &http.Client{Timeout: 20 * time.Second}
	var group sync.WaitGroup
	right := make(chan bool, 40)
	for i := 0; i < 40; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			r, err := client.Get(fmt.Sprintf("http://%s:8090/%d", address, i))
			if err != nil {
				fail(err)
			}
			defer r.Body.Close()
			body, _ := io.ReadAll(r.Body)
			right <- string(body) == fmt.Sprintf("/%d from %s", i, address)
		}(i)
	}
	group.Wait()
	close(right)
	n := 0
	for ok := range right {
		if ok {
			n++
		}
	}
	fmt.Println("right answers", n)
}

func main() {
	address, silent := os.Args[1], os.Args[2]
	serve(address)
	get(address)
	_, err := net.DialTimeout("tcp", address+":9", 20*time.Second)
	fmt.Println("refused", errors.Is(err, syscall.ECONNREFUSED))
	_, err = net.DialTimeout("tcp", silent+":9", 200*time.Millisecond)
	fmt.Println("timeout", err != nil && strings.HasSuffix(err.Error(), "i/o timeout"))
	_, err = net.Dial("tcp", "192.0.2.1:9")
	fmt.Println("unreachable", errors.Is(err, syscall.ENETUNREACH))
	_, err = net.ListenTCP("tcp", &net.TCPAddr{Port: 8090})
	fmt.Println("in use", errors.Is(err, syscall.EADDRINUSE))
}
