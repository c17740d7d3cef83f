// The WKV-7 recurrence, forward and backward, for training on a CPU. Tensors are f32 [B, T, H, N], contiguous, N = 64, T a multiple of 16.
//
//   S = S diag(w) + (S a) b^T + v k^T        y = S r            S[value][key], one per sequence and head, zero at the start
//
// The forward pass keeps S before every 16th step; the backward pass recomputes the 15 between from there, so that memory stays small.
#include <ATen/Parallel.h>
#include <torch/extension.h>

#include <cstring>
#include <vector>

namespace {
constexpr int N = 64, CHUNK = 16, SQUARE = N * N;
using Tensor = at::Tensor;

// One step of S, in place; Sa[i] = sum_j S[i][j] a[j] of the S before it.
inline void advance(float* S, const float* w, const float* k, const float* v, const float* a, const float* b, float* Sa) {
  for (int i = 0; i < N; i++) {
    float *row = S + i * N, sum = 0;
    for (int j = 0; j < N; j++) sum += row[j] * a[j];
    Sa[i] = sum;
    for (int j = 0; j < N; j++) row[j] = row[j] * w[j] + sum * b[j] + v[i] * k[j];
  }
}

struct Shape {
  int64_t B, T, H, chunks;
  explicit Shape(const Tensor& x) : B(x.size(0)), T(x.size(1)), H(x.size(2)), chunks(T / CHUNK) {
    TORCH_CHECK(x.size(3) == N && T % CHUNK == 0, "wkv7: [B, T, H, N] with N = 64 and T a multiple of 16");
  }
  int64_t at(int64_t pair, int64_t t) const { return ((pair / H * T + t) * H + pair % H) * N; }  // pair: sequence * H + head
};
}  // namespace

std::vector<Tensor> forward(Tensor r_, Tensor w_, Tensor k_, Tensor v_, Tensor a_, Tensor b_) {
  const Shape s(r_);
  Tensor y_ = at::empty_like(r_), kept_ = at::empty({s.B, s.H, s.chunks, N, N}, r_.options());
  const float *r = r_.data_ptr<float>(), *w = w_.data_ptr<float>(), *k = k_.data_ptr<float>();
  const float *v = v_.data_ptr<float>(), *a = a_.data_ptr<float>(), *b = b_.data_ptr<float>();
  float *y = y_.data_ptr<float>(), *kept = kept_.data_ptr<float>();
  at::parallel_for(0, s.B * s.H, 1, [&](int64_t from, int64_t to) {
    alignas(64) float S[SQUARE], Sa[N];
    for (int64_t pair = from; pair < to; pair++) {
      std::memset(S, 0, sizeof S);
      for (int64_t t = 0; t < s.T; t++) {
        if (t % CHUNK == 0) std::memcpy(kept + (pair * s.chunks + t / CHUNK) * SQUARE, S, sizeof S);
        const int64_t o = s.at(pair, t);
        advance(S, w + o, k + o, v + o, a + o, b + o, Sa);
        for (int i = 0; i < N; i++) {
          float sum = 0;
          for (int j = 0; j < N; j++) sum += S[i * N + j] * r[o + j];
          y[o + i] = sum;
        }
      }
    }
  });
  return {y_, kept_};
}

std::vector<Tensor> backward(Tensor r_, Tensor w_, Tensor k_, Tensor v_, Tensor a_, Tensor b_, Tensor kept_, Tensor dy_) {
  const Shape s(r_);
  Tensor dr_ = at::empty_like(r_), dw_ = at::empty_like(r_), dk_ = at::empty_like(r_);
  Tensor dv_ = at::empty_like(r_), da_ = at::empty_like(r_), db_ = at::empty_like(r_);
  const float *R = r_.data_ptr<float>(), *W = w_.data_ptr<float>(), *K = k_.data_ptr<float>(), *V = v_.data_ptr<float>();
  const float *A = a_.data_ptr<float>(), *Bs = b_.data_ptr<float>(), *kept = kept_.data_ptr<float>(), *DY = dy_.data_ptr<float>();
  float *DR = dr_.data_ptr<float>(), *DW = dw_.data_ptr<float>(), *DK = dk_.data_ptr<float>();
  float *DV = dv_.data_ptr<float>(), *DA = da_.data_ptr<float>(), *DB = db_.data_ptr<float>();
  at::parallel_for(0, s.B * s.H, 1, [&](int64_t from, int64_t to) {
    std::vector<float> states((CHUNK + 1) * SQUARE), Sas(CHUNK * N);
    alignas(64) float dS[SQUARE];
    for (int64_t pair = from; pair < to; pair++) {
      std::memset(dS, 0, sizeof dS);
      for (int64_t chunk = s.chunks - 1; chunk >= 0; chunk--) {
        std::memcpy(states.data(), kept + (pair * s.chunks + chunk) * SQUARE, sizeof dS);
        for (int u = 0; u < CHUNK; u++) {
          float* next = states.data() + (u + 1) * SQUARE;
          std::memcpy(next, next - SQUARE, sizeof dS);
          const int64_t o = s.at(pair, chunk * CHUNK + u);
          advance(next, W + o, K + o, V + o, A + o, Bs + o, Sas.data() + u * N);
        }
        for (int u = CHUNK - 1; u >= 0; u--) {
          const int64_t o = s.at(pair, chunk * CHUNK + u);
          const float *after = states.data() + (u + 1) * SQUARE, *before = after - SQUARE, *Sa = Sas.data() + u * N;
          const float *r = R + o, *w = W + o, *k = K + o, *v = V + o, *a = A + o, *b = Bs + o, *dy = DY + o;
          alignas(64) float dr[N] = {0}, dw[N] = {0}, dk[N] = {0}, da[N] = {0}, db[N] = {0};
          for (int i = 0; i < N; i++) {
            float* d = dS + i * N;
            const float *S = after + i * N, *P = before + i * N;
            float dv = 0, dSa = 0;
            for (int j = 0; j < N; j++) {
              dr[j] += dy[i] * S[j];
              d[j] += dy[i] * r[j];
              dw[j] += d[j] * P[j];
              db[j] += d[j] * Sa[i];
              dk[j] += d[j] * v[i];
              dv += d[j] * k[j];
              dSa += d[j] * b[j];
            }
            DV[o + i] = dv;
            for (int j = 0; j < N; j++) {
              da[j] += dSa * P[j];
              d[j] = d[j] * w[j] + dSa * a[j];
            }
          }
          std::memcpy(DR + o, dr, sizeof dr);
          std::memcpy(DW + o, dw, sizeof dw);
          std::memcpy(DK + o, dk, sizeof dk);
          std::memcpy(DA + o, da, sizeof da);
          std::memcpy(DB + o, db, sizeof db);
        }
      }
    }
  });
  return {dr_, dw_, dk_, dv_, da_, db_};
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("forward", &forward);
  m.def("backward", &backward);
}
