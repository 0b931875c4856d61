"""Layers with PyTorch's names, signatures and state_dict keys, numpy in and out."""

from seq2seq_fast.nn.recurrent import GRU, LSTM, GRUCell, LSTMCell

__all__ = ["GRU", "LSTM", "GRUCell", "LSTMCell"]
