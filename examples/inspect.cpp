// Judges pictures by a file that `weakspot export --to onnx` wrote, with OpenVINO's C++ library and nothing else.
//
//   inspect part.onnx picture.pgm ...
//
// Pictures are PGM (grey) or PPM (colour) of 8 bits, so that no library for files is needed; on the line they are the
// camera's buffer. Prints a line each, "bad 0.9876 picture.pgm"; ends with 3 when one is bad, 1 when one cannot be
// judged: that is never good. It goes by the score alone, and passes as good what weakspot holds for review as unlike the
// training's pictures: see `usual` in docs/deploy.md.
//
//   LIBS=$(python -c "import openvino, pathlib; print(pathlib.Path(openvino.__file__).parent)")
//   g++ -std=c++17 -O2 -I"$LIBS/include" inspect.cpp "$LIBS"/libs/libopenvino.so.* -Wl,-rpath,"$LIBS/libs" -o inspect

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <openvino/openvino.hpp>
#include <stdexcept>
#include <string>
#include <vector>

struct Picture {
    size_t channels, height, width;
    std::vector<uint8_t> values;  // channel by channel, red first
};

Picture read_picture(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string kind;
    size_t width = 0, height = 0, most = 0;
    if (!(file >> kind >> width >> height >> most) || (kind != "P5" && kind != "P6") || most != 255)
        throw std::runtime_error("no PGM or PPM picture of 8 bits");
    file.get();  // the one space before the values
    const size_t channels = kind == "P5" ? 1 : 3, pixels = width * height;
    std::vector<uint8_t> read(channels * pixels), planes(channels * pixels);
    if (!file.read(reinterpret_cast<char*>(read.data()), read.size())) throw std::runtime_error("it is cut short");
    for (size_t pixel = 0; pixel < pixels; ++pixel)
        for (size_t channel = 0; channel < channels; ++channel)
            planes[channel * pixels + pixel] = read[pixel * channels + channel];
    return {channels, height, width, planes};
}

int main(int count, char** words) {
    if (count < 3) return std::cerr << "usage: inspect part.onnx picture.pgm ...\n", 2;
    int status = 0;
    try {
        ov::Core core;
        auto graph = core.read_model(words[1]);
        auto shape = graph->input("image").get_partial_shape();
        shape[0] = 1;  // one picture at a time, so that an answer does not depend on its neighbours
        graph->reshape(shape);
        // fp32: left to itself OpenVINO takes bf16 where the processor has it, and that was not verified
        auto request = core.compile_model(graph, "CPU", ov::hint::inference_precision(ov::element::f32))
                           .create_infer_request();
        for (int place = 2; place < count; ++place) {
            try {
                auto picture = read_picture(words[place]);
                ov::Shape mine{1, picture.channels, picture.height, picture.width};
                if (mine != shape.to_shape()) throw std::runtime_error("not of the size or colours of the export");
                request.set_tensor("image", ov::Tensor(ov::element::u8, mine, picture.values.data()));
                request.infer();
                const int64_t decision = request.get_tensor("decision").data<int64_t>()[0];
                const float score = request.get_tensor("pred_score").data<float>()[0];
                std::printf("%s %.4f %s\n", decision == 2 ? "bad" : decision ? "review" : "good", score, words[place]);
                if (decision == 2) status = 3;
            } catch (const std::exception& error) {
                std::cerr << "not inspected: " << words[place] << ": " << error.what() << "\n";
                if (!status) status = 1;
            }
        }
    } catch (const std::exception& error) {
        return std::cerr << words[1] << ": " << error.what() << "\n", 1;
    }
    return status;
}
