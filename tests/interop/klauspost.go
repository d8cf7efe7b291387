// Reads a Zstandard file by github.com/klauspost/compress/zstd, and writes the content to stdout.
//
//	klauspost (NewReader|DecodeAll) FILE
//
// Exit status: 0 the reader found no fault, whatever it read; 1 it returned an error.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
)

func decode(way, path string) error {
	if way == "DecodeAll" {
		packed, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		decoder, err := zstd.NewReader(nil)
		if err != nil {
			return err
		}
		content, err := decoder.DecodeAll(packed, nil)
		os.Stdout.Write(content)
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	decoder, err := zstd.NewReader(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, decoder)
	return err
}

func main() {
	if err := decode(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
