// Bodies that do not end, and their readers.
//
//	gostream serve PORT                 answers every request with bytes for as long as somebody takes them
//	gostream read URL COUNT SECONDS     reads COUNT of them at once, each 16 KiB a second, with the key GRANTEE_API_KEY
//
// A reader prints `Reading` when all bodies have begun, and ends with 1 when one of them ends before the time is up.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

func main() {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "serve":
		serve(os.Args[2])
	case len(os.Args) == 5 && os.Args[1] == "read":
		read(os.Args[2], number(os.Args[3]), time.Duration(number(os.Args[4]))*time.Second)
	default:
		log.Fatal("usage: gostream serve PORT | gostream read URL COUNT SECONDS")
	}
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func serve(port string) {
	part := make([]byte, 64<<10)
	for i := range part {
		part[i] = 'x'
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		for {
			if _, err := w.Write(part); err != nil {
				return
			}
		}
	})
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("Listening on http://%s\n", listener.Addr())
	log.Fatal(http.Serve(listener, handler))
}

func read(url string, count int, duration time.Duration) {
	// A small window: what the kernel would hold for a reader is not what is measured.
	small := func(_, _ string, connection syscall.RawConn) error {
		return connection.Control(func(descriptor uintptr) {
			_ = syscall.SetsockoptInt(int(descriptor), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 16<<10)
		})
	}
	dialer := &net.Dialer{Timeout: 30 * time.Second, Control: small}
	client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableCompression: true, ReadBufferSize: 4 << 10}}
	var begun, ended sync.WaitGroup
	stop := make(chan struct{})
	for i := 0; i < count; i++ {
		begun.Add(1)
		ended.Add(1)
		go func() {
			defer ended.Done()
			request, err := http.NewRequestWithContext(context.Background(), "GET", url, nil)
			if err != nil {
				log.Fatal(err)
			}
			request.Header.Set("Authorization", "Bearer "+os.Getenv("GRANTEE_API_KEY"))
			response, err := client.Do(request)
			if err != nil {
				log.Fatal(err)
			}
			defer response.Body.Close()
			if response.StatusCode != http.StatusOK {
				log.Fatal("answered ", response.Status)
			}
			begun.Done()
			part := make([]byte, 4<<10)
			for {
				if _, err := io.ReadFull(response.Body, part); err != nil {
					log.Fatal("a body ended: ", err)
				}
				select {
				case <-stop:
					return
				case <-time.After(250 * time.Millisecond):
				}
			}
		}()
	}
	begun.Wait()
	fmt.Println("Reading")
	time.Sleep(duration)
	close(stop)
	ended.Wait()
}
