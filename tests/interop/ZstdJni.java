// Reads a Zstandard file by com.github.luben.zstd, and writes the content to stdout.
//
//     ZstdJni (ZstdInputStream|decompress) FILE
//
// Exit status: 0 the reader found no fault, whatever it read; 1 it threw an exception.

import com.github.luben.zstd.Zstd;
import com.github.luben.zstd.ZstdInputStream;
import java.io.FileInputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;

public class ZstdJni {
    public static void main(String[] args) throws Exception {
        OutputStream out = System.out;
        if (args[0].equals("decompress")) {
            byte[] packed = Files.readAllBytes(Path.of(args[1]));
            // As callers do it: the size that the first frame states.
            out.write(Zstd.decompress(packed, (int) Zstd.decompressedSize(packed)));
        } else {
            try (var reader = new ZstdInputStream(new FileInputStream(args[1]))) {
                reader.transferTo(out);
            }
        }
        out.flush();
    }
}
