// Slots: a few things of one kind, lent to one caller at a time, first come first served. A thread that asks
// for one while it holds one (from a callback of its own call) would wait for itself and gets one more. A
// child of fork() gets new ones: its copies may be lent to threads that it does not have.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "core/fork.h"

namespace s2s {

template <class T>
class Slots {
  class Set;

 public:
  // `make` may run again, in a child.
  Slots(int64_t count, std::function<std::unique_ptr<T>()> make)
      : count_(count), make_(std::move(make)), set_(new Set(count_, make_)) {}
  ~Slots() {
    // A parent's set is left behind: its threads do not exist here, and nobody may wait for them.
    if (Set* set = set_.load(); set->forks == fork_count()) delete set;
  }
  Slots(const Slots&) = delete;
  Slots& operator=(const Slots&) = delete;

  // Holds a slot while it lives; waits for one if all are lent.
  class Lease {
   public:
    explicit Lease(Slots& slots) : set_(slots.current()), outer_(innermost_) {
      for (const Lease* lease = outer_; lease && !own_; lease = lease->outer_) {
        if (&lease->set_ == &set_) own_ = slots.make_();
      }
      slot_ = own_ ? own_.get() : set_.take();
      innermost_ = this;
    }
    ~Lease() {
      innermost_ = outer_;
      if (!own_) set_.give(slot_);
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    T* operator->() const { return slot_; }
    T& operator*() const { return *slot_; }

   private:
    static thread_local const Lease* innermost_;
    Set& set_;
    const Lease* outer_;      // of the same thread
    std::unique_ptr<T> own_;  // of a thread that holds another
    T* slot_;
  };

  int64_t count() const { return count_; }
  // Callers that wait, and callers that hold a slot or wait.
  int64_t waiting() { return current().counts().first; }
  int64_t active() { return current().counts().second; }

 private:
  class Set {
   public:
    Set(int64_t count, const std::function<std::unique_ptr<T>()>& make) {
      for (int64_t i = 0; i < count; ++i) {
        all_.push_back(make());
        free_.push_back(all_.back().get());
      }
    }

    T* take() {
      std::unique_lock<std::mutex> lock(mutex_);
      if (!free_.empty()) {
        T* slot = free_.back();  // the one used last: its memory is warm
        free_.pop_back();
        return slot;
      }
      Waiter self;
      waiting_.push_back(&self);
      lock.unlock();
      self.ready.wait(0);
      lock.lock();  // the giver needs `self` until it lets go of the lock
      return self.slot;
    }

    void give(T* slot) {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (waiting_.empty()) {
        free_.push_back(slot);
        return;
      }
      Waiter* next = waiting_.front();
      waiting_.pop_front();
      next->slot = slot;
      next->ready = 1;
      next->ready.notify_one();  // under the lock: the waiter ends as soon as it can go on
    }

    std::pair<int64_t, int64_t> counts() {
      const std::lock_guard<std::mutex> lock(mutex_);
      const auto waiting = static_cast<int64_t>(waiting_.size());
      return {waiting, waiting + static_cast<int64_t>(all_.size() - free_.size())};
    }

    const uint64_t forks = fork_count();

   private:
    struct Waiter {
      // Not a condition_variable, whose wait() in g++ 12's library makes the wheel a manylinux_2_35 one.
      std::atomic<int> ready{0};
      T* slot = nullptr;
    };
    std::mutex mutex_;
    std::vector<std::unique_ptr<T>> all_;
    std::vector<T*> free_;
    std::deque<Waiter*> waiting_;
  };

  Set& current() {
    Set* set = set_.load();
    if (set->forks != fork_count()) {
      auto fresh = std::make_unique<Set>(count_, make_);
      if (set_.compare_exchange_strong(set, fresh.get())) set = fresh.release();
    }
    return *set;
  }

  const int64_t count_;
  const std::function<std::unique_ptr<T>()> make_;
  std::atomic<Set*> set_;
};

template <class T>
thread_local const typename Slots<T>::Lease* Slots<T>::Lease::innermost_ = nullptr;

}  // namespace s2s
